package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/trace"
)

func traceCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "show the packets of a client or a topic, decoded, as they pass",
		UsageText: `edgebroker trace --client pump-7
edgebroker trace --client pump-7 --type PUBLISH,PUBACK --payload
edgebroker trace --topic 'plant/+/temp' --count 20
edgebroker trace --address 192.168.8.0/24 --duration 30s -o jsonl > trace.jsonl`,
		Description: `Both directions, with the time since the packet before and since the one that
is answered. The client need not be connected yet; all of its connections are
shown, refused ones too. Several of --client, --topic or --address are
alternatives, different ones add up. With --topic: messages, their
acknowledgements, and subscriptions that fit. "in" is from the client, "out" to
it. Passwords and authentication data are never shown. See docs/TRACE.md.`,
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			&cli.StringSliceFlag{Name: "client", Aliases: []string{"c"}, Usage: "the client `ID`; may be repeated"},
			&cli.StringSliceFlag{Name: "topic", Usage: "messages on topics that match `FILTER`; may be repeated"},
			&cli.StringSliceFlag{Name: "address", Usage: "connections from `IP` or PREFIX, such as 192.168.8.0/24; may be repeated"},
			&cli.StringSliceFlag{Name: "type", Aliases: []string{"t"}, Usage: "only packets of `TYPE`, such as PUBLISH,PUBACK; may be repeated"},
			&cli.BoolFlag{Name: "payload", Aliases: []string{"p"}, Usage: "show payloads, as text or in hexadecimal"},
			&cli.IntFlag{Name: "payload-bytes", Value: 256, Usage: "with --payload: show `N` bytes of each at most"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, DefaultText: "no end", Usage: "stop after `N` packets"},
			&cli.DurationFlag{Name: "duration", DefaultText: "no end", Usage: "stop after `DURATION`, such as 30s"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runTrace(e, c) },
	}
}

func runTrace(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	q, err := traceQuery(c)
	if err != nil {
		return usageError("trace", "%v", err)
	}
	want, limit, begun := c.Int("count"), c.Duration("duration"), func() {}
	switch {
	case want < 0 || c.IsSet("count") && want == 0:
		return usageError("trace", "--count %d is not positive", want)
	case limit < 0 || c.IsSet("duration") && limit == 0:
		return usageError("trace", "--duration %v is not positive", limit)
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	ctx, over := context.WithCancel(c.Context)
	defer over()
	if limit > 0 {
		// The time counts from when the trace stands, which the first entry tells.
		end := time.AfterFunc(daemon.wait+limit, over)
		defer end.Stop()
		begun = func() { end.Reset(limit) }
	}
	got := 0
	err = daemon.client.Trace(ctx, q, nil, func(entry trace.Entry) error {
		begun()
		begun = func() {}
		if err := writeEntry(e, format, &entry); err != nil {
			return err
		}
		if entry.What == trace.PacketSeen {
			if got++; got == want {
				return errEnough
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case c.Context.Err() != nil && want == 0:
		return nil
	case c.Context.Err() != nil:
		return fmt.Errorf("interrupted with %d of %d packets", got, want)
	case ctx.Err() != nil && want == 0:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%d of %d packets within %v", got, want, limit)
	case err == nil:
		return errors.New("the daemon closed the trace: it is stopping")
	}
	return daemon.explain(c.Context, err)
}

func traceQuery(c *cli.Context) (trace.Query, error) {
	q := trace.Query{Clients: c.StringSlice("client"), Topics: c.StringSlice("topic")}
	for _, text := range c.StringSlice("address") {
		a, err := trace.ParseAddress(text)
		if err != nil {
			return q, fmt.Errorf("--address %w", err)
		}
		q.Addresses = append(q.Addresses, a)
	}
	for _, list := range c.StringSlice("type") {
		for name := range strings.SplitSeq(list, ",") {
			t, err := trace.ParseType(strings.TrimSpace(name))
			if err != nil {
				return q, fmt.Errorf("--type %w", err)
			}
			q.Types = append(q.Types, t)
		}
	}
	switch n := c.Int("payload-bytes"); {
	case n <= 0:
		return q, fmt.Errorf("--payload-bytes %d is not positive", n)
	case c.Bool("payload"):
		q.Payload = n
	}
	if err := q.Check(); err != nil {
		if len(q.Clients)+len(q.Topics)+len(q.Addresses) == 0 {
			return q, errors.New("say what to trace: --client ID, --topic FILTER or --address IP")
		}
		return q, err
	}
	return q, nil
}

// writeEntry writes one line of a trace; before the first of a table, the heading.
func writeEntry(e *env, format string, entry *trace.Entry) error {
	if format != "table" {
		return writeJSON(e.stdout, entry, false)
	}
	if entry.What == trace.Began {
		if _, err := fmt.Fprintln(e.stdout, trace.Heading); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(e.stdout, printable(entry.Text()))
	return err
}
