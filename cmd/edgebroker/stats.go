package main

import (
	"context"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func statsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "show the daemon's counters and rates",
		UsageText: `edgebroker stats
edgebroker stats --watch --interval 5s
edgebroker stats -o json | jq .clientCount
edgebroker stats -o prom > /var/lib/node_exporter/edgebroker.prom
edgebroker stats --balance`,
		Description: `Totals count from the daemon's start. With --watch, a table on a terminal is
redrawn in place; everything else is appended. --balance shows what has become of
every message since then, also under load; exit code 4 says that some are missing.`,
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl", "prom"),
			&cli.BoolFlag{Name: "balance", Usage: "account for every message: received, delivered, queued, dropped"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show them again and again, until interrupted"},
			&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "with --watch, wait `DURATION` in between"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runStats(e, c) },
	}
}

func runStats(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	format, err := outputFormat(c, "table", "json", "jsonl", "prom")
	if err != nil {
		return err
	}
	if c.Bool("balance") {
		return runBalance(e, c, format)
	}
	interval := c.Duration("interval")
	switch {
	case interval < 100*time.Millisecond:
		return usageError("stats", "--interval %v is below 100ms", interval)
	case c.IsSet("interval") && !c.Bool("watch"):
		return usageError("stats", "--interval needs --watch")
	case format == "prom" && c.Bool("watch"):
		return usageError("stats", "-o prom is a single scrape, which --watch cannot repeat")
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	if !c.Bool("watch") {
		return showStats(c.Context, daemon, e.stdout, format)
	}
	return watch(c.Context, e.stdout, format == "table", interval, func(ctx context.Context, w io.Writer) error {
		return showStats(ctx, daemon, w, format)
	})
}

// showStats asks once and prints to w.
func showStats(ctx context.Context, daemon *control, w io.Writer, format string) error {
	if format == "prom" {
		var text []byte
		err := daemon.ask(ctx, func(ctx context.Context) (err error) {
			text, err = daemon.client.Metrics(ctx)
			return err
		})
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	var s statsd.Snapshot
	err := daemon.ask(ctx, func(ctx context.Context) (err error) {
		s, err = daemon.client.Stats(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if format == "table" {
		return s.WriteTable(w)
	}
	return writeJSON(w, s, format == "json")
}
