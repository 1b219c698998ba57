package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

func whoCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "who",
		Usage:     "tell who has published on a topic",
		ArgsUsage: "FILTER",
		UsageText: `edgebroker who plant/7/temp
edgebroker who 'plant/+/temp'
edgebroker who -o jsonl '#'`,
		Description: `Tells the latest publishers, up to four for each topic, of the topics that were
published on last and of those that have a retained message: client, user, address,
when, how many bytes, and the age of what is retained. Of several messages within a
second it may know the first. After a restart only the client is known of what is
retained from before.`,
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			foundFlag(),
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runWho(e, c) },
	}
}

func runWho(e *env, c *cli.Context) error {
	q, err := readQuestion(e, c, 1, "table", "json", "jsonl")
	if err != nil {
		return err
	}
	var got statsd.Found[statsd.TopicPublishers]
	err = q.daemon.ask(c.Context, func(ctx context.Context) (err error) {
		got, err = q.daemon.client.Publishers(ctx, q.filter, q.top)
		return err
	})
	switch {
	case err != nil:
		return err
	case q.format != "table":
		err = writeList(e.stdout, got.List, q.format)
	case len(got.List) == 0:
		_, err = fmt.Fprintln(e.stdout, "nobody is known to have published there")
	default:
		err = statsd.WritePublishers(e.stdout, got.List, time.Now())
	}
	noteMore(e, got.Total, len(got.List), narrowOrRaise)
	return err
}

// defaultFound is how many topics are listed when nobody says how many.
const defaultFound = 1000

func foundFlag() cli.Flag {
	return &cli.IntFlag{Name: "top", Value: defaultFound, Usage: fmt.Sprintf("list the first `N` topics only, at most %d", statsd.MaxFound)}
}

// question is what is asked about the topics that match a filter.
type question struct {
	daemon *control
	format string
	filter string
	top    int
}

// readQuestion reads the flags and the filter, which may be missing if least is
// 0 and is "#" then. The answer can have any of formats.
func readQuestion(e *env, c *cli.Context, least int, formats ...string) (q question, err error) {
	args, err := e.positionals(c, least, 1, "the topic or filter")
	if err != nil {
		return q, err
	}
	if q.format, err = outputFormat(c, formats...); err != nil {
		return q, err
	}
	if q.top, err = topOf(c); err != nil {
		return q, err
	}
	if q.filter = "#"; len(args) > 0 {
		q.filter = args[0]
	}
	if err := wire.ValidFilter(q.filter); err != nil {
		return q, usageError(commandPath(c), "topic filter %q is not valid: %v", q.filter, err)
	}
	q.daemon, err = openControl(c)
	return q, err
}

// narrowOrRaise is what to do to see more of a list that --top cuts off.
const narrowOrRaise = "narrow the filter or raise --top"

// noteMore says that a list is not all, and what to do.
func noteMore(e *env, total, shown int, advice string) {
	if total > shown {
		e.notef("%s more; %s", things(total-shown, "topic"), advice)
	}
}
