package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func retainedCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "retained",
		Usage: "list, show and clear retained messages",
		Subcommands: []*cli.Command{
			{
				Name:      "list",
				Usage:     "list retained messages",
				ArgsUsage: "[FILTER]",
				UsageText: `edgebroker retained list
edgebroker retained list 'plant/+/state'`,
				Flags:  append([]cli.Flag{outputFlag("table", "json", "jsonl"), foundFlag()}, controlFlags()...),
				Action: func(c *cli.Context) error { return runRetained(e, c, false) },
			},
			{
				Name:      "show",
				Usage:     "show retained messages with their payloads",
				ArgsUsage: "FILTER",
				UsageText: `edgebroker retained show plant/7/state
edgebroker retained show -o jsonl 'plant/+/state' | jq -r .payload`,
				Description: fmt.Sprintf("Shows up to %d messages. Of a payload the first %d KiB are shown.", statsd.MaxPayloads, statsd.MaxPayload>>10),
				Flags:       append([]cli.Flag{outputFlag("text", "json", "jsonl")}, controlFlags()...),
				Action:      func(c *cli.Context) error { return runRetained(e, c, true) },
			},
			{
				Name:      "clear",
				Usage:     "remove retained messages for good",
				ArgsUsage: "FILTER",
				UsageText: `edgebroker retained clear --dry-run 'old/#'
edgebroker retained clear --yes 'old/#'`,
				Description: `Asks first, unless there is --yes. When it says that they are gone, that is
stored. Clients that have subscribed are not told; to tell them, publish an empty
retained message on the topic: edgebroker pub --retain TOPIC ''.`,
				Flags: append([]cli.Flag{
					outputFlag("text", "json", "jsonl"),
					&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
					&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "change nothing, only say how many there are"},
				}, controlFlags()...),
				Action: func(c *cli.Context) error { return clearRetained(e, c) },
			},
		},
	}
}

func runRetained(e *env, c *cli.Context, show bool) error {
	least, plain := 0, "table"
	if show {
		least, plain = 1, "text"
	}
	q, err := readQuestion(e, c, least, plain, "json", "jsonl")
	if err != nil {
		return err
	}
	top, advice := q.top, narrowOrRaise
	if show {
		top, advice = statsd.MaxPayloads, "narrow the filter"
	}
	var got statsd.Found[statsd.Retained]
	err = q.daemon.ask(c.Context, func(ctx context.Context) (err error) {
		got, err = q.daemon.client.Retained(ctx, q.filter, top, show)
		return err
	})
	switch {
	case err != nil:
		return err
	case q.format == "json" || q.format == "jsonl":
		err = writeList(e.stdout, got.List, q.format)
	case len(got.List) == 0:
		_, err = fmt.Fprintln(e.stdout, "nothing is retained there")
	case show:
		err = showRetained(e.stdout, got.List, time.Now())
	default:
		err = statsd.WriteRetained(e.stdout, got.List, time.Now())
	}
	noteMore(e, got.Total, len(got.List), advice)
	return err
}

// showRetained writes a line about each message, and its payload below, as it
// may be shown on a terminal.
func showRetained(w io.Writer, list []statsd.Retained, now time.Time) error {
	var out strings.Builder
	for _, r := range list {
		since := "before the start of the broker"
		if !r.Since.IsZero() {
			since = span(now.Sub(r.Since)) + " ago"
		}
		by := "the broker"
		if r.Client != "" {
			by = r.Client
		}
		fmt.Fprintf(&out, "%s (%s, QoS %d, by %s, %s)\n", printable(r.Topic), size(r.Size), r.QoS, printable(by), since)
		switch {
		case r.Payload != nil:
			fmt.Fprintf(&out, "  %s\n", printable(*r.Payload))
		default:
			fmt.Fprintf(&out, "  %x (not text)\n", r.PayloadBase64)
		}
		if r.Cut {
			out.WriteString("  ... the rest is not shown\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func clearRetained(e *env, c *cli.Context) error {
	q, err := readQuestion(e, c, 1, "text", "json", "jsonl")
	if err != nil {
		return err
	}
	ask := func(try bool) (done statsd.Cleared, err error) {
		err = q.daemon.ask(c.Context, func(ctx context.Context) (err error) {
			done, err = q.daemon.client.ClearRetained(ctx, q.filter, try)
			return err
		})
		return done, err
	}
	done, err := ask(true)
	if err != nil {
		return err
	}
	if !c.Bool("dry-run") && done.Cleared > 0 {
		if !c.Bool("yes") {
			if err := e.confirm(fmt.Sprintf("remove %s of %s for good?", things(done.Cleared, "retained message"), q.filter)); err != nil {
				return err
			}
		}
		if done, err = ask(false); err != nil {
			return err
		}
	} else if !c.Bool("dry-run") {
		done.DryRun = false
	}
	if q.format != "text" {
		return writeJSON(e.stdout, done, q.format == "json")
	}
	text := "cleared %s\n"
	if done.DryRun {
		text = "would clear %s\n"
	}
	_, err = fmt.Fprintf(e.stdout, text, things(done.Cleared, "retained message"))
	return err
}

// confirm asks the user, who must type yes.
func (e *env) confirm(question string) error {
	fmt.Fprintf(e.stderr, program+": %s type yes: ", printable(question))
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return &failure{code: exitError, err: errors.New("nothing was changed"), hint: "answer yes, or use --yes"}
	}
	return nil
}
