package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

// runBalance shows what has become of every message.
func runBalance(e *env, c *cli.Context, format string) error {
	switch {
	case format == "prom":
		return usageError("stats", "-o prom has no --balance")
	case c.Bool("watch"):
		return usageError("stats", "--balance is one reading, which --watch cannot repeat")
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var b statsd.Balance
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		b, err = daemon.client.Balance(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if format == "table" {
		err = b.WriteTable(e.stdout)
	} else {
		err = writeJSON(e.stdout, b, format == "json")
	}
	if err == nil && !b.Balanced {
		return &failure{code: exitDegraded, err: errors.New("messages are missing: some accounts do not balance"),
			hint: "this is a mistake in the broker; please report it with what `edgebroker stats --balance` and `edgebroker drops` print"}
	}
	return err
}
