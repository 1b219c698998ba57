package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

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
	table := newTable("")
	switch {
	case r.DryRun && len(r.Changes) == 0:
		table.line("the configuration is the same")
	case r.DryRun:
		table.line("a reload would change:")
	case len(r.Changes) == 0:
		table.line("reloaded; the configuration is the same")
	default:
		table.line("reloaded:")
	}
	for _, ch := range r.Changes {
		table.row("  %s\t%s", printable(ch.Key), printable(changeWords(ch)))
	}
	table.line("%s", readWords(r))
	ended := "disconnected"
	if r.DryRun {
		ended = "would be disconnected"
	}
	affected(table, r, true, r.Disconnected, "client", ended)
	affected(table, r, false, r.Affected-r.Disconnected, "connected client", "with other rights")
	return table.writeTo(w)
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
func affected(t *table, r statsd.Reloaded, disconnected bool, total int, noun, what string) {
	if total == 0 {
		return
	}
	named := slices.DeleteFunc(slices.Clone(r.Clients), func(c statsd.AffectedClient) bool { return c.Disconnected != disconnected })
	if len(named) == 0 {
		t.line("%s %s", things(total, noun), what)
		return
	}
	t.line("%s %s:", things(total, noun), what)
	for _, c := range named {
		t.row("  %s\t%s", printable(c.ID), printable(c.Why))
	}
	if len(named) < total {
		t.row("  and %s more", count(total-len(named)))
	}
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
