package main

import (
	"context"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

func dropsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "drops",
		Usage: "say what was lost: by whom, on which topics, why",
		UsageText: `edgebroker drops                     since the start of the broker
edgebroker drops --since 2h          as far as the flight recorder goes back
edgebroker drops --since 3d --data /var/lib/edgebroker
edgebroker drops --client panel-2`,
		Description: `Each line is what one client has missed on one branch of topics, of which the first
two levels are named, for one reason. Messages on topics that nobody has subscribed
to are not lost to anybody and not in it. What is recorded is complete up to ten
seconds ago; docs/EVENTS.md says what each reason means.`,
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			&cli.StringFlag{Name: "client", Usage: "only those of the client `ID`"},
			topFlag(),
		}, append(pastFlags(), controlFlags()...)...),
		Action: func(c *cli.Context) error { return runDrops(e, c) },
	}
}

func runDrops(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	top, err := topOf(c)
	if err != nil {
		return err
	}
	list, err := losses(e, c)
	if err != nil {
		return err
	}
	if top > 0 {
		list = list[:min(top, len(list))]
	}
	if format != "table" {
		return writeList(e.stdout, list, format)
	}
	return writeLosses(e.stdout, list)
}

// losses is what the flags ask for, the most first.
func losses(e *env, c *cli.Context) ([]statsd.Loss, error) {
	recorded, back, err := past(c, time.Now())
	if err != nil {
		return nil, err
	}
	if back {
		return recordedLosses(e, c, recorded)
	}
	daemon, err := openControl(c)
	if err != nil {
		return nil, err
	}
	var all, list []statsd.Loss
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		all, err = daemon.client.Drops(ctx)
		return err
	})
	for _, l := range all {
		if id := c.String("client"); id == "" || id == l.Client {
			list = append(list, l)
		}
	}
	return list, err
}

// recordedLosses adds up what the flight recorder has.
func recordedLosses(e *env, c *cli.Context, p statsd.Past) ([]statsd.Loss, error) {
	type key struct{ client, topic, reason string }
	sums := make(map[key]*statsd.Loss)
	filter := events.Filter{Types: []events.Type{events.Drop}, Client: c.String("client")}
	err := readHistory(e, c, p, filter, func(ev events.Event) error {
		d, ok := ev.Data.(events.DropData)
		if !ok {
			return nil
		}
		k := key{d.ClientID, d.Topic, d.Reason}
		if sums[k] == nil {
			sums[k] = &statsd.Loss{Client: d.ClientID, Topic: d.Topic, Reason: d.Reason}
		}
		sums[k].Count += d.Count
		sums[k].Last = ev.Time
		return nil
	})
	list := make([]statsd.Loss, 0, len(sums))
	for _, l := range sums {
		list = append(list, *l)
	}
	statsd.SortLosses(list)
	return list, err
}

func writeLosses(w io.Writer, list []statsd.Loss) error {
	if len(list) == 0 {
		_, err := io.WriteString(w, "nothing was lost\n")
		return err
	}
	table := newTable("MESSAGES\tREASON\tCLIENT\tTOPICS\tLAST")
	for _, l := range list {
		table.row("%s\t%s\t%s\t%s\t%s", count(l.Count), printable(l.Reason), orDash(printable(l.Client)), orDash(printable(l.Topic)), l.Last.Local().Format("2006-01-02 15:04:05"))
	}
	return table.writeTo(w)
}
