package bench

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	mqttdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// Exit codes of the command, beside 0.
const (
	exitError = 1
	exitUsage = 2
)

// Command is `bench`, to be added to the program's commands. It exits 1 when
// a message was lost, repeated or reordered, 2 when the flags make no sense.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "measure a broker: throughput, latency, CPU per message",
		UsageText: `edgebroker bench
edgebroker bench --scenario fan-out --clients 100 --qos 1
edgebroker bench --address gateway:1883 --rate 500 --duration 1m`,
		Description: "Applies load to the broker at --address and checks that every message arrives once and in order.\n" +
			"Without --rate as fast as the broker goes, with --rate on a schedule; only the latter gives a meaningful latency.\n" +
			"CPU and memory of the broker are measured when it runs here and --pid is given.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "address", Aliases: []string{"a"}, Value: "127.0.0.1:1883", Usage: "broker as `HOST:PORT`, mqtts://HOST:PORT, ws:// or wss://HOST:PORT/mqtt, or unix:PATH"},
			&cli.StringFlag{Name: "cafile", Usage: "over TLS, trust the authorities in `FILE` (PEM) instead of the system's"},
			&cli.StringFlag{Name: "cert", Usage: "over TLS, show the certificate in `FILE` (PEM)"},
			&cli.StringFlag{Name: "key", Usage: "the private key of --cert, in `FILE` (PEM)"},
			&cli.BoolFlag{Name: "insecure", Usage: "over TLS, take any certificate of the broker"},
			&cli.StringFlag{Name: "scenario", Aliases: []string{"s"}, Value: string(Pairs), Usage: "fan-in (N publishers, 1 subscriber), pairs (N of each), fan-out (1 publisher, N subscribers), pub (N publishers), sub (N subscribers to --topic), mixed (a site), connect (N clients come), idle (N clients stay)"},
			&cli.IntFlag{Name: "clients", Aliases: []string{"n"}, Value: 10, Usage: "the `N` of the scenario"},
			&cli.UintFlag{Name: "qos", Aliases: []string{"q"}, Usage: "0, 1 or 2, of publishes and subscriptions"},
			&cli.StringFlag{Name: "version", Value: wire.V311.String(), Usage: "MQTT version, 3.1.1 or 5"},
			&cli.IntFlag{Name: "payload", Value: 64, Usage: "payload size in `BYTES`"},
			&cli.Uint64Flag{Name: "count", Aliases: []string{"c"}, Usage: "end after `N` messages of each publisher instead of --duration"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: 5 * time.Second, Usage: "length of the measurement"},
			&cli.DurationFlag{Name: "warmup", Value: 500 * time.Millisecond, Usage: "load before the measurement"},
			&cli.IntFlag{Name: "window", Aliases: []string{"w"}, Value: 64, Usage: "at most `N` messages of each publisher on their way, without --rate"},
			&cli.Float64Flag{Name: "rate", Aliases: []string{"r"}, Usage: "`N` messages per second of each publisher, instead of as fast as possible"},
			&cli.StringFlag{Name: "topic", Aliases: []string{"t"}, Usage: "publish below `TOPIC` (bench); of sub: the filter (#)"},
			&cli.IntFlag{Name: "topics", Usage: "spread the messages of each publisher over `N` topics; of idle: let each client subscribe to N"},
			&cli.IntFlag{Name: "wildcard", Usage: "`N` more subscribers, each to everything by a wildcard"},
			&cli.IntFlag{Name: "subscriptions", Usage: "`N` more subscriptions that match nothing"},
			&cli.IntFlag{Name: "user-properties", Usage: "publish with `N` user properties (MQTT 5)"},
			&cli.BoolFlag{Name: "aliases", Usage: "publish with topic aliases (MQTT 5)"},
			&cli.BoolFlag{Name: "retain", Usage: "publish retained messages, and clear them afterwards"},
			&cli.DurationFlag{Name: "stay", Usage: "of connect: clients stay for `DURATION` when all have come, instead of leaving at once"},
			&cli.DurationFlag{Name: "keep-alive", Value: time.Minute, Usage: "of idle: each client sends a PINGREQ every `DURATION`; 0 for none"},
			&cli.BoolFlag{Name: "kept", Usage: "subscribers have sessions that the broker must keep, and store if it can"},
			&cli.IntFlag{Name: "stalled", Usage: "`N` more subscribers to everything that read nothing"},
			&cli.IntFlag{Name: "pid", Usage: "process id of the broker, if it runs on this machine"},
			&cli.StringFlag{Name: "username", Usage: "login name", EnvVars: []string{"MQTT_USERNAME"}},
			&cli.StringFlag{Name: "password", Usage: "login password; better set it in the environment", EnvVars: []string{"MQTT_PASSWORD"}},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table, json, jsonl"},
		},
		Action: action,
	}
}

func action(c *cli.Context) error {
	o, err := options(c)
	if err != nil {
		return cli.Exit(err, exitUsage)
	}
	res, err := Run(c.Context, o)
	if err != nil && res.Published == 0 && res.Connects == nil {
		return cli.Exit(err, exitError)
	}
	// What was measured is worth seeing even if the run broke off.
	var writeErr error
	if format := c.String("output"); format != "table" {
		writeErr = WriteJSON(c.App.Writer, res, format == "json")
	} else {
		writeErr = WriteTable(c.App.Writer, res)
	}
	switch {
	case err != nil:
		return cli.Exit(err, exitError)
	case writeErr != nil:
		return cli.Exit(fmt.Errorf("write the result: %w", writeErr), exitError)
	case !res.Clean():
		return cli.Exit(fmt.Errorf("%d messages lost, %d reordered, %d repeated", res.Lost, res.Reordered, res.Duplicates), exitError)
	}
	return nil
}

// options turns flags into validated Options.
func options(c *cli.Context) (Options, error) {
	if c.Args().Present() {
		return Options{}, fmt.Errorf("argument %q is not understood; bench has flags only", c.Args().First())
	}
	if out := c.String("output"); out != "table" && out != "json" && out != "jsonl" {
		return Options{}, fmt.Errorf("output format %q is unknown; there is table, json, jsonl", out)
	}
	var version wire.Version
	switch s := c.String("version"); s {
	case wire.V311.String():
		version = wire.V311
	case wire.V5.String():
		version = wire.V5
	default:
		return Options{}, fmt.Errorf("version %q is not offered; choose 3.1.1 or 5", s)
	}
	o := Options{
		Address: c.String("address"), Scenario: Scenario(c.String("scenario")), Clients: c.Int("clients"),
		QoS: byte(min(c.Uint("qos"), 255)), Version: version, Payload: c.Int("payload"),
		Kept: c.Bool("kept"), Stalled: c.Int("stalled"), Count: c.Uint64("count"), Duration: c.Duration("duration"), Warmup: c.Duration("warmup"),
		Window: c.Int("window"), Rate: c.Float64("rate"), BrokerPID: c.Int("pid"),
		Username: c.String("username"), Password: c.String("password"),
		Topic: c.String("topic"), Topics: c.Int("topics"), Wildcard: c.Int("wildcard"), Subscriptions: c.Int("subscriptions"),
		UserProperties: c.Int("user-properties"), Aliases: c.Bool("aliases"), Retain: c.Bool("retain"),
		Stay: c.Duration("stay"), KeepAlive: c.Duration("keep-alive"),
	}
	switch o.Scenario {
	case Connect:
		if !c.IsSet("duration") {
			o.Duration = 0
		}
	case Idle:
		if !c.IsSet("duration") {
			o.Duration = time.Minute
		}
		if !c.IsSet("warmup") {
			o.Warmup = 3 * time.Second
		}
	}
	if mqttdial.Secured(o.Address) {
		var err error
		o.TLS, err = mqttdial.TLS{CAFile: c.String("cafile"), CertFile: c.String("cert"), KeyFile: c.String("key"), Insecure: c.Bool("insecure")}.Config()
		if err != nil {
			return Options{}, err
		}
	} else if c.IsSet("cafile") || c.IsSet("cert") || c.IsSet("key") || c.IsSet("insecure") {
		return Options{}, fmt.Errorf("--cafile, --cert, --key and --insecure are for TLS, which %s is not; write mqtts://HOST:PORT or wss://HOST:PORT/mqtt", o.Address)
	}
	if c.IsSet("count") && !c.IsSet("duration") {
		o.Duration = 0
	}
	if c.IsSet("count") && !c.IsSet("warmup") {
		o.Warmup = 0
	}
	return o, o.Validate()
}
