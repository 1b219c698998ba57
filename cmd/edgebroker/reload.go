package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func reloadCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "make the daemon read its configuration again",
		UsageText: `edgebroker reload              put it in force
edgebroker reload --dry-run    say what that would change, and for which clients`,
		Description: `Reads the config file and the files of users, keys, rules and certificates that
it names. All of it is put in force or, if something is wrong, nothing. What is
no longer allowed ends at once; clients for whom nothing changes notice nothing.
What cannot change while the broker runs is named in an error.`,
		Flags: append(controlFlags(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "change nothing"},
			outputFlag("text", "json", "jsonl")),
		Action: func(c *cli.Context) error {
			if _, err := e.positionals(c, 0, 0); err != nil {
				return err
			}
			format, err := outputFormat(c, "text", "json", "jsonl")
			if err != nil {
				return err
			}
			daemon, err := openControl(c)
			if err != nil {
				return err
			}
			r, err := daemon.reload(c.Context, c.Bool("dry-run"))
			switch {
			case err != nil:
				return err
			case format != "text":
				return writeJSON(e.stdout, r, format == "json")
			}
			return writeReloaded(e.stdout, r)
		},
	}
}

func (d *control) reload(ctx context.Context, try bool) (r statsd.Reloaded, err error) {
	err = d.ask(ctx, func(ctx context.Context) (err error) {
		r, err = d.client.Reload(ctx, try)
		return err
	})
	return r, err
}

// writeReloaded says what a reload has changed, and for whom.
func writeReloaded(w io.Writer, r statsd.Reloaded) error {
	var out strings.Builder
	switch {
	case r.DryRun && len(r.Changes) == 0:
		out.WriteString("the configuration is the same\n")
	case r.DryRun:
		out.WriteString("a reload would change:\n")
	case len(r.Changes) == 0:
		out.WriteString("reloaded; the configuration is the same\n")
	default:
		out.WriteString("reloaded:\n")
	}
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, ch := range r.Changes {
		fmt.Fprintf(table, "  %s\t%s\n", printable(ch.Key), printable(changeWords(ch)))
	}
	_ = table.Flush() // to a string
	out.WriteString(readWords(r) + "\n")
	ended := "disconnected"
	if r.DryRun {
		ended = "would be disconnected"
	}
	affected(&out, r, true, r.Disconnected, "client", ended)
	affected(&out, r, false, r.Affected-r.Disconnected, "connected client", "with other rights")
	_, err := io.WriteString(w, out.String())
	return err
}

func changeWords(ch statsd.Change) string {
	words := cmp.Or(ch.From, "not set") + " -> " + cmp.Or(ch.To, "not set")
	if strings.HasSuffix(ch.Key, "]") { // a listener as a whole
		if words = "new: " + ch.To; ch.To == "" {
			words = "gone: " + ch.From
		}
	}
	if ch.Effect != "" {
		words += ", " + ch.Effect
	}
	return words
}

// affected lists those clients of r that are, or are not, disconnected. There are
// total of them, of which r may name a part.
func affected(out *strings.Builder, r statsd.Reloaded, disconnected bool, total int, noun, what string) {
	if total == 0 {
		return
	}
	fmt.Fprintf(out, "%s %s", things(total, noun), what)
	table, named := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), 0
	for _, c := range r.Clients {
		if c.Disconnected != disconnected {
			continue
		}
		if named++; named == 1 {
			fmt.Fprintln(out, ":")
		}
		fmt.Fprintf(table, "  %s\t%s\n", printable(c.ID), printable(c.Why))
	}
	switch {
	case named == 0:
		fmt.Fprintln(out)
	case named < total:
		fmt.Fprintf(table, "  and %s more\n", count(total-named))
	}
	_ = table.Flush() // to a string
}

func reloadedWords(r statsd.Reloaded) string {
	return fmt.Sprintf("%s; %s disconnected", readWords(r), things(r.Disconnected, "client"))
}

// readWords says what a reload has read.
func readWords(r statsd.Reloaded) string {
	words := things(r.Users, "user") + ", " + things(r.Rules, "rule")
	if r.People > 0 {
		words += ", " + things(r.People, "user") + " of the http address"
	}
	return words
}
