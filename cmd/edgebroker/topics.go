package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func topicsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "topics",
		Usage: "show the busiest topics",
		UsageText: `edgebroker topics --top 10
edgebroker topics --sort bytes --watch
edgebroker topics --depth 2          branches of two levels instead of topics`,
		Description: `Counts what was published since the start of the broker. With many topics the
numbers of a late one may be too high by what it says, and what is beside them may
be too low (">="). --watch adds how much there is in a second.`,
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			&cli.IntFlag{Name: "top", Value: 20, Usage: "list the first `N` only"},
			&cli.StringFlag{Name: "sort", Value: statsd.TopicOrders()[0], Usage: "order by `NAME`: " + strings.Join(statsd.TopicOrders(), ", ")},
			&cli.IntFlag{Name: "depth", DefaultText: "whole topics", Usage: "add up branches of `N` levels, 1 to 4"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show them again and again, until interrupted"},
			&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "with --watch, wait `DURATION` in between"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runTopics(e, c) },
	}
}

// topicsView asks for the busiest topics again and again.
type topicsView struct {
	daemon *control
	format string
	depth  int
	order  string
	top    int
	rates  bool
	last   map[string]statsd.Busy // what was shown last
	at     time.Time              // and when
}

func runTopics(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	v := &topicsView{depth: c.Int("depth"), order: c.String("sort"), rates: c.Bool("watch")}
	var err error
	if v.format, err = outputFormat(c, "table", "json", "jsonl"); err != nil {
		return err
	}
	if v.top, err = topOf(c); err != nil {
		return err
	}
	interval := c.Duration("interval")
	switch {
	case !slices.Contains(statsd.TopicOrders(), v.order):
		return usageError("topics", "--sort %q is unknown; there is %s", v.order, strings.Join(statsd.TopicOrders(), ", "))
	case v.depth < 0 || c.IsSet("depth") && v.depth == 0 || v.depth > 4:
		return usageError("topics", "--depth %d is outside 1 to 4", v.depth)
	case interval < 100*time.Millisecond:
		return usageError("topics", "--interval %v is below 100ms", interval)
	case c.IsSet("interval") && !v.rates:
		return usageError("topics", "--interval needs --watch")
	}
	if v.daemon, err = openControl(c); err != nil {
		return err
	}
	if !v.rates {
		return v.show(c.Context, e.stdout)
	}
	return watch(c.Context, e.stdout, v.format == "table", interval, v.show)
}

// show asks once and prints to w.
func (v *topicsView) show(ctx context.Context, w io.Writer) error {
	var t statsd.Topics
	err := v.daemon.ask(ctx, func(ctx context.Context) (err error) {
		t, err = v.daemon.client.Topics(ctx, v.depth, v.order, v.top)
		return err
	})
	switch {
	case err != nil:
		return err
	case v.format != "table":
		return writeJSON(w, t, v.format == "json")
	case !v.rates && t.Messages == 0:
		_, err := fmt.Fprintln(w, "nothing has been published")
		return err
	case !v.rates:
		return t.WriteTable(w, v.order == "bytes", nil)
	}
	before, since := v.last, time.Since(v.at).Seconds()
	v.last, v.at = make(map[string]statsd.Busy), time.Now()
	for _, b := range t.Busiest {
		v.last[b.Topic] = b
	}
	return t.WriteTable(w, v.order == "bytes", func(topic string) (messages, bytes float64) {
		now := v.last[topic]
		old, known := before[topic]
		if !known || old.Error != now.Error || now.Messages < old.Messages || now.Bytes < old.Bytes {
			return 0, 0 // it has not been there all the time
		}
		return float64(now.Messages-old.Messages) / since, float64(now.Bytes-old.Bytes) / since
	})
}
