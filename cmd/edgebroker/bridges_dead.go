package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func deadLettersCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "dead-letters",
		Usage: "list messages that the far side of an uplink never takes; send them again or discard them",
		UsageText: `edgebroker bridges dead-letters cloud
edgebroker bridges dead-letters --replay cloud     after what was wrong has been mended
edgebroker bridges dead-letters --discard cloud`,
		Description: `The far side has refused them for good (not authorized, invalid topic), or they are larger
than it takes. They are kept as long as there is room, and stand in nobody's way.`,
		ArgsUsage: "NAME",
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			&cli.BoolFlag{Name: "replay", Usage: "put them at the end of what waits for the far side"},
			&cli.BoolFlag{Name: "discard", Usage: "forget them"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return deadLetters(e, c) },
	}
}

func deadLetters(e *env, c *cli.Context) error {
	args, format, err := e.asked(c, 1, 1, "the name of the uplink")
	if err != nil {
		return err
	}
	replay, discard := c.Bool("replay"), c.Bool("discard")
	if replay && discard {
		return usageError("bridges dead-letters", "--replay and --discard exclude each other")
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var list statsd.DeadLetters
	n := 0
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		if replay || discard {
			n, err = daemon.client.EndDeadLetters(ctx, args[0], replay)
		} else {
			list, err = daemon.client.DeadLetters(ctx, args[0])
		}
		return err
	})
	switch {
	case errors.Is(err, statsd.ErrNotFound):
		return unknownBridge(args[0])
	case err != nil:
		return err
	case (replay || discard) && format != "table":
		return writeJSON(e.stdout, statsd.DeadLettersDone{Bridge: args[0], Count: n}, format == "json")
	case replay:
		_, err = fmt.Fprintf(e.stdout, "%s sent again\n", messages(n))
		return err
	case discard:
		_, err = fmt.Fprintf(e.stdout, "%s discarded\n", messages(n))
		return err
	case format == "jsonl":
		return writeList(e.stdout, list.Letters, format)
	case format == "json":
		return writeJSON(e.stdout, list, true)
	}
	return writeDeadLetters(e.stdout, list)
}

func writeDeadLetters(w io.Writer, list statsd.DeadLetters) error {
	if len(list.Letters) == 0 {
		_, err := io.WriteString(w, "there are no dead letters\n")
		return err
	}
	table := newTable("TIME\tTOPIC\tSIZE\tWHY")
	for _, l := range list.Letters {
		table.row("%s\t%s\t%s\t%s", l.Time.Local().Format("2006-01-02 15:04:05"), printable(l.Topic), size(l.Size), printable(l.Why))
	}
	if more := list.Total - len(list.Letters); more > 0 {
		table.line("and %d more", more)
	}
	return table.writeTo(w)
}
