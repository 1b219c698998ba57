package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/statsd"
)

func testBridgeCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "test",
		Usage: "connect as an uplink would, and say step by step what happens and how to mend it",
		UsageText: `edgebroker bridges test cloud
edgebroker bridges test --own-id cloud     where the far side knows that client id only
edgebroker bridges test --config /etc/edgebroker/edgebroker.yml cloud     without a broker that runs`,
		Description: `The broker does it, beside the uplink, as client CLIENT_ID-test. Nothing of what waits is sent.
With --own-id it is done in place of the uplink, which is paused meanwhile.
With --config this command does it, by the uplink's entry there.
The exit status is 1 if a step has failed.`,
		ArgsUsage: "NAME",
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			&cli.BoolFlag{Name: "own-id", Usage: "with the uplink's own client id"},
			&cli.PathFlag{Name: "config", Usage: "the uplink is in this `FILE`, and no broker is asked"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return testBridge(e, c) },
	}
}

func testBridge(e *env, c *cli.Context) error {
	args, format, err := e.asked(c, 1, 1, "the name of the uplink")
	if err != nil {
		return err
	}
	var done statsd.BridgeTest
	if path := c.Path("config"); path != "" {
		done, err = testConfigured(c.Context, path, args[0], c.Bool("own-id"))
	} else {
		done, err = testRunning(c, args[0])
	}
	if err != nil {
		return err
	}
	if format == "table" {
		err = writeBridgeTest(e.stdout, done)
	} else {
		err = writeJSON(e.stdout, done, format == "json")
	}
	if err == nil && !done.OK {
		err = &failure{code: exitError, quiet: true, err: errors.New("a step has failed")}
	}
	return err
}

// testPatience is what the broker takes for a test at most, and some.
const testPatience = time.Minute

func testRunning(c *cli.Context, name string) (done statsd.BridgeTest, err error) {
	daemon, err := openControl(c)
	if err != nil {
		return done, err
	}
	daemon.wait = max(daemon.wait, testPatience)
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		done, err = daemon.client.TestBridge(ctx, name, c.Bool("own-id"))
		return err
	})
	if errors.Is(err, statsd.ErrNotFound) {
		err = unknownBridge(name)
	}
	return done, err
}

func testConfigured(ctx context.Context, path, name string, own bool) (done statsd.BridgeTest, err error) {
	cfg, err := appliance.LoadConfig(path)
	if err != nil {
		return done, configFailure(err)
	}
	for _, b := range cfg.Bridges {
		if b.Name == name {
			ctx, cancel := context.WithTimeout(ctx, testPatience)
			defer cancel()
			return cfg.TestBridge(ctx, b, own), nil
		}
	}
	return done, &failure{code: exitError, err: fmt.Errorf("%s has no uplink %q", path, name), hint: "see bridges there"}
}

func writeBridgeTest(w io.Writer, done statsd.BridgeTest) error {
	table := newTable("")
	for _, s := range done.Steps {
		took := ""
		if s.Took > 0 {
			took = time.Duration(s.Took * float64(time.Second)).Round(100 * time.Microsecond).String()
		}
		table.row("%s\t%s\t%s\t%s", s.Name, s.Result, took, printable(s.What))
		if s.Mend != "" {
			table.row("\t\t\t-> %s", printable(s.Mend))
		}
	}
	return table.writeTo(w)
}
