package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	mqttdial "github.com/synthetism/edgebroker/internal/dial"
)

// Exit codes of the command, beside 0.
const (
	exitError = 1
	exitUsage = 2
)

// Command is `bench`, to be added to the program's commands. It exits 1 when
// a message was lost, repeated or reordered or a client could not connect, 2
// when the flags make no sense.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "measure a broker: throughput, latency, CPU per message, memory per connection",
		UsageText: `edgebroker bench
edgebroker bench --scenario fan-out --clients 100 --qos 1
edgebroker bench --payload 64,1024,65536 --qos 0,1 --repeat 5
edgebroker bench --address gateway:1883 --rate 500 --duration 1m
edgebroker bench --rate 50% --output hdr >latency.hgrm
edgebroker bench --scenario connect --clients 2000 --stay 10s
edgebroker bench --scenario idle --clients 10000`,
		Description: "Applies load to the broker at --address and checks that every message arrives once and in order.\n" +
			"Without --rate as fast as the broker goes, with --rate on a schedule; only the latter gives a meaningful latency.\n" +
			"CPU and memory of the broker are measured when it runs here.\n" +
			"--scenario, --clients, --payload, --qos and --rate take several values, separated by commas: each combination is a run.\n" +
			"Exit code 1 says that a message was lost, repeated or out of order, or that a client could not connect.",
		Flags:  flags(),
		Action: action,
	}
}

func action(c *cli.Context) error {
	runs, err := plans(c)
	if err != nil {
		return cli.Exit(err, exitUsage)
	}
	if err := choosePID(c, runs); err != nil {
		return cli.Exit(err, exitUsage)
	}
	out := newPrinter(c, runs)
	err = Series(c.Context, runs, c.Int("repeat"), out.result)
	// What was measured is worth seeing even if a run broke off.
	if flushErr := out.flush(); err == nil && flushErr != nil {
		err = fmt.Errorf("write the results: %w", flushErr)
	}
	if err != nil {
		return cli.Exit(err, exitError)
	}
	if why := out.unclean(); why != "" {
		return cli.Exit(why, exitError)
	}
	return nil
}

// plans turns flags into validated Options, one for each run.
func plans(c *cli.Context) ([]Options, error) {
	if c.Args().Present() {
		return nil, fmt.Errorf("argument %q is not understood; bench has flags only", c.Args().First())
	}
	format := c.String("output")
	if !slices.Contains(outputs(), format) {
		return nil, fmt.Errorf("output format %q is unknown; there is %s", format, strings.Join(outputs(), ", "))
	}
	if c.Int("repeat") < 1 || c.Int("repeat") > 1000 {
		return nil, fmt.Errorf("repeat is %d; choose 1 to 1000", c.Int("repeat"))
	}
	if d := c.Duration("interval"); c.IsSet("interval") && d < minInterval {
		return nil, fmt.Errorf("interval is %v; choose at least %v", d, minInterval)
	}
	o, err := options(c)
	if err != nil {
		return nil, err
	}
	runs, err := sweep(c, o)
	if err != nil {
		return nil, err
	}
	if format == "hdr" && (len(runs) > 1 || c.Int("repeat") > 1) {
		return nil, errors.New("output format hdr is of one run; give one value of each flag, and no --repeat")
	}
	return runs, nil
}

// minInterval keeps progress from being a load of its own.
const minInterval = 10 * time.Millisecond

// options are those that all runs have in common.
func options(c *cli.Context) (Options, error) {
	version, err := versionOf(c.String("version"))
	if err != nil {
		return Options{}, err
	}
	o := Options{
		Address: c.String("address"), Client: Client(c.String("client")), Version: version,
		Kept: c.Bool("kept"), Stalled: c.Int("stalled"), Count: c.Uint64("count"), Duration: c.Duration("duration"), Warmup: c.Duration("warmup"),
		Window: c.Int("window"), Username: c.String("username"), Password: c.String("password"),
		Topic: c.String("topic"), Topics: c.Int("topics"), Wildcard: c.Int("wildcard"), Subscriptions: c.Int("subscriptions"),
		UserProperties: c.Int("user-properties"), Aliases: c.Bool("aliases"), Retain: c.Bool("retain"),
		Stay: c.Duration("stay"), KeepAlive: c.Duration("keep-alive"),
	}
	if o.Client == Paho && !c.IsSet("version") {
		o.Version = 0 // its own
	}
	if mqttdial.Secured(o.Address) {
		o.TLS, err = mqttdial.TLS{CAFile: c.String("cafile"), CertFile: c.String("cert"), KeyFile: c.String("key"), Insecure: c.Bool("insecure")}.Config()
		if err != nil {
			return Options{}, err
		}
	} else if c.IsSet("cafile") || c.IsSet("cert") || c.IsSet("key") || c.IsSet("insecure") {
		return Options{}, fmt.Errorf("--cafile, --cert, --key and --insecure are for TLS, which %s is not; write mqtts://HOST:PORT or wss://HOST:PORT/mqtt", o.Address)
	}
	return o, nil
}

// choosePID sets whose CPU time and memory the runs measure. Unless it was asked
// for, a process that cannot be found is none.
func choosePID(c *cli.Context, runs []Options) error {
	pid, err := pidOf(c.Context, c.String("pid"), runs[0].Address, c.IsSet("pid"))
	if err != nil {
		return err
	}
	for i := range runs {
		runs[i].BrokerPID = pid
	}
	return nil
}

func pidOf(ctx context.Context, flag, address string, asked bool) (int, error) {
	switch flag {
	case pidNone, "0":
		return 0, nil
	case pidAuto:
		pid, err := FindBroker(ctx, address)
		if err != nil && asked {
			return 0, err
		}
		return pid, nil
	}
	pid, err := strconv.ParseUint(flag, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("pid %q is no process id; give a number, %s or %s", flag, pidAuto, pidNone)
	}
	return int(pid), nil
}
