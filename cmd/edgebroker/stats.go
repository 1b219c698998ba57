package main

import (
	"bytes"
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

// The sequences that redraw a terminal in place: the cursor goes home, each
// line clears its rest, and what is left below is cleared.
const (
	cursorHome = "\x1b[H"
	clearAll   = "\x1b[2J" + cursorHome
	clearLine  = "\x1b[K\n"
	clearBelow = "\x1b[J"
)

// redraw is page as it overwrites the screen of height lines (0: any). What
// does not fit is cut: it would scroll the screen and spoil the next page.
func redraw(page []byte, height int, first bool) []byte {
	lines := bytes.Split(bytes.TrimSuffix(page, []byte("\n")), []byte("\n"))
	if height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	start := cursorHome
	if first {
		start = clearAll
	}
	out := append([]byte(start), bytes.Join(lines, []byte(clearLine))...)
	return append(out, clearLine+clearBelow...)
}

// watch shows a page every interval until ctx ends, which is no error: a table
// on a terminal in place. A daemon that goes away ends it with one.
func watch(ctx context.Context, w io.Writer, table bool, interval time.Duration, show func(context.Context, io.Writer) error) error {
	inPlace := table && isTerminal(w)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		var page bytes.Buffer
		if err := show(ctx, &page); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		out := page.Bytes()
		switch {
		case inPlace:
			out = redraw(out, screenHeight(w), first)
		case table && !first:
			out = append([]byte("\n"), out...)
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
