package bench

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/wire"
)

// flags are in the order of help: whom to load, with what, for how long, and
// what to tell.
func flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "address", Aliases: []string{"a"}, Value: "127.0.0.1:1883", Usage: "broker as `HOST:PORT`, mqtts://HOST:PORT, ws:// or wss://HOST:PORT/mqtt, or unix:PATH"},
		&cli.StringFlag{Name: "cafile", Usage: "over TLS, trust the authorities in `FILE` (PEM) instead of the system's"},
		&cli.StringFlag{Name: "cert", Usage: "over TLS, show the certificate in `FILE` (PEM)"},
		&cli.StringFlag{Name: "key", Usage: "the private key of --cert, in `FILE` (PEM)"},
		&cli.BoolFlag{Name: "insecure", Usage: "over TLS, take any certificate of the broker"},
		&cli.StringFlag{Name: "username", Usage: "login name", EnvVars: []string{"MQTT_USERNAME"}},
		&cli.StringFlag{Name: "password", Usage: "login password; better set it in the environment", EnvVars: []string{"MQTT_PASSWORD"}},
		&cli.StringFlag{Name: "pid", Value: pidAuto, Usage: "the broker's process `ID` if it runs here; auto: whoever listens at --address, none: do not measure it"},

		&cli.StringFlag{Name: "scenario", Aliases: []string{"s"}, Value: string(Pairs), Usage: "`NAME`: fan-in (N publishers, 1 subscriber), pairs (N of each), fan-out (1 publisher, N subscribers), pub (N publishers), sub (N subscribers to --topic), mixed (a site), connect (N clients come), idle (N clients stay)"},
		&cli.StringFlag{Name: "clients", Aliases: []string{"n"}, Value: "10", Usage: "the `N` of the scenario"},
		&cli.StringFlag{Name: "client", Value: string(Raw), Usage: "`KIND`: raw (frames, so that the broker is the limit) or paho (eclipse/paho.golang, as programs have it; MQTT 5)"},
		&cli.StringFlag{Name: "qos", Aliases: []string{"q"}, Value: "0", Usage: "`QOS` 0, 1 or 2, of publishes and subscriptions"},
		&cli.StringFlag{Name: "version", Value: wire.V311.String(), Usage: "MQTT version, 3.1.1 or 5"},
		&cli.StringFlag{Name: "payload", Value: "64", Usage: "payload size in `BYTES`"},
		&cli.StringFlag{Name: "rate", Aliases: []string{"r"}, Value: "0", Usage: "`N` messages per second of each publisher, or connects per second, instead of as fast as possible; N% of what has been possible"},
		&cli.IntFlag{Name: "window", Aliases: []string{"w"}, Value: 64, Usage: "at most `N` messages of each publisher, or connects, on their way, without --rate"},
		&cli.StringFlag{Name: "topic", Aliases: []string{"t"}, Usage: "publish below `TOPIC` (bench); of sub: the filter (#)"},
		&cli.IntFlag{Name: "topics", Usage: "spread the messages of each publisher over `N` topics; of idle: let each client subscribe to N"},
		&cli.IntFlag{Name: "wildcard", Usage: "`N` more subscribers, each to everything by a wildcard"},
		&cli.IntFlag{Name: "subscriptions", Usage: "`N` more subscriptions that match nothing"},
		&cli.IntFlag{Name: "stalled", Usage: "`N` more subscribers to everything that read nothing"},
		&cli.IntFlag{Name: "user-properties", Usage: "publish with `N` user properties (MQTT 5)"},
		&cli.BoolFlag{Name: "aliases", Usage: "publish with topic aliases (MQTT 5)"},
		&cli.BoolFlag{Name: "retain", Usage: "publish retained messages, and clear them afterwards"},
		&cli.BoolFlag{Name: "kept", Usage: "subscribers have sessions that the broker must keep, and store if it can"},
		&cli.DurationFlag{Name: "stay", Usage: "of connect: clients stay for `DURATION` when all have come, instead of leaving at once"},
		&cli.DurationFlag{Name: "keep-alive", Value: time.Minute, Usage: "of idle: each client sends a PINGREQ every `DURATION`; 0 for none"},

		&cli.Uint64Flag{Name: "count", Aliases: []string{"c"}, Usage: "end after `N` messages of each publisher, or N connects of each client, instead of --duration"},
		&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: defaultDuration, Usage: "length of the measurement; of idle 1m; of connect: each client comes once unless it is given"},
		&cli.DurationFlag{Name: "warmup", Value: defaultWarmup, Usage: "load before the measurement; of idle 3s"},
		&cli.IntFlag{Name: "repeat", Value: 1, Usage: "make all runs `N` times, in turn; tables show medians, too"},

		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, json, jsonl, hdr"},
		&cli.DurationFlag{Name: "interval", Usage: "tell progress every `DURATION`, also where stderr is no terminal; with -o jsonl as lines among the results"},
		&cli.BoolFlag{Name: "quiet", Usage: "tell no progress"},
	}
}

const (
	pidAuto = "auto"
	pidNone = "none"

	defaultDuration = 5 * time.Second
	defaultWarmup   = 500 * time.Millisecond
	idleDuration    = time.Minute
	idleWarmup      = 3 * time.Second
)

// outputs are the formats of --output.
func outputs() []string { return []string{"table", "json", "jsonl", "hdr"} }

// versionOf is the flag of the version.
func versionOf(s string) (wire.Version, error) {
	switch s {
	case wire.V311.String():
		return wire.V311, nil
	case wire.V5.String():
		return wire.V5, nil
	}
	return 0, fmt.Errorf("version %q is not offered; choose 3.1.1 or 5", s)
}
