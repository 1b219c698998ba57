package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/manpage"
)

// Where the package has things, besides packagedConfig.
const (
	packagedSocket = "/run/edgebroker/control.sock"
	packagedState  = "/var/lib/edgebroker"
)

const projectURL = "https://github.com/synthetism/edgebroker"

// manCommand is for those who package or install the program: it is hidden.
func manCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "write the manual pages into a folder",
		UsageText: "edgebroker man /usr/local/share/man",
		ArgsUsage: "DIR",
		Hidden:    true,
		Description: `Makes DIR/man1 with a page for each command and DIR/man5 with one for the config file, of what
--help and the example config say. Their date is today, or what SOURCE_DATE_EPOCH says in seconds since 1970.`,
		Action: func(c *cli.Context) error {
			args, err := e.positionals(c, 1, 1, "the folder")
			if err != nil {
				return err
			}
			date, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"), time.Now())
			if err != nil {
				return err
			}
			for _, p := range manPages(e, date) {
				dir := filepath.Join(args[0], "man"+strconv.Itoa(p.Section))
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(dir, p.Name+"."+strconv.Itoa(p.Section)), []byte(p.String()), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// sourceDate is the day that epoch names, or that of now if it is empty.
func sourceDate(epoch string, now time.Time) (string, error) {
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return "", usageError("man", "SOURCE_DATE_EPOCH %q is not a number of seconds", epoch)
		}
		now = time.Unix(seconds, 0)
	}
	return now.UTC().Format(time.DateOnly), nil
}

// manPages is all pages: that of the program, one for each command, and one for
// the config file.
func manPages(e *env, date string) []manpage.Page {
	app := newApp(e)
	source := program + " " + readBuildInfo().Version
	pages := []manpage.Page{programPage(app), configPage()}
	var add func(list []*cli.Command, parent []string)
	add = func(list []*cli.Command, parent []string) {
		for _, c := range list {
			if c.Hidden {
				continue
			}
			words := append(slices.Clip(parent), c.Name)
			pages = append(pages, commandPage(c, words, list))
			add(c.Subcommands, words)
		}
	}
	add(app.Commands, nil)
	for i := range pages {
		pages[i].Date, pages[i].Source, pages[i].Manual = date, source, "edgebroker manual"
	}
	return pages
}

// pageOf is the name of the page about the command of these words.
func pageOf(words ...string) string { return strings.Join(append([]string{program}, words...), "-") }

func programPage(app *cli.App) manpage.Page {
	sections := []manpage.Section{
		section("NAME", manpage.Text(program+" - "+app.Usage)),
		section("SYNOPSIS", manpage.Code(program+" COMMAND [FLAGS] [ARGUMENTS]")),
		section("DESCRIPTION", manpage.Text(app.Description)),
		section("COMMANDS", commandItems(app.Commands, nil)...),
		section("OPTIONS", optionItems(app.Flags)...),
		section("EXAMPLES", manpage.Code(app.UsageText)),
		section("EXIT STATUS", exitItems()...),
		section("FILES", fileItems([]string{"config", "socket", "data", "dir"})...),
	}
	refs := []string{ref(packagedConfigName, 5)}
	for _, c := range app.Commands {
		if !c.Hidden {
			refs = append(refs, ref(pageOf(c.Name), 1))
		}
	}
	return manpage.Page{Name: program, Section: 1, Sections: append(sections, seeAlso(refs))}
}

func commandPage(c *cli.Command, words []string, siblings []*cli.Command) manpage.Page {
	synopsis, examples, _ := strings.Cut(c.UsageText, "\n\n")
	p := manpage.Page{Name: pageOf(words...), Section: 1}
	add := func(title string, blocks ...manpage.Block) {
		p.Sections = append(p.Sections, section(title, blocks...))
	}
	add("NAME", manpage.Text(p.Name+" - "+c.Usage))
	add("SYNOPSIS", manpage.Code(synopsis))
	if c.Description != "" {
		add("DESCRIPTION", manpage.Text(c.Description))
	}
	if len(c.Subcommands) > 0 {
		add("COMMANDS", commandItems(c.Subcommands, words)...)
	}
	flags := c.VisibleFlags()
	if !slices.Contains(flags, cli.HelpFlag) {
		flags = append(slices.Clip(flags), cli.HelpFlag)
	}
	add("OPTIONS", optionItems(flags)...)
	if examples == "" {
		examples = examplesOf(c.Subcommands)
	}
	add("EXAMPLES", manpage.Code(examples))
	switch {
	case p.Name == pageOf("check"):
		add("EXIT STATUS", manpage.Text("0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, as plugins of Nagios have it."))
	case strings.Contains(strings.ToLower(c.Description), "exit "):
		add("EXIT STATUS", append([]manpage.Block{manpage.Text("Beyond what is said above:")}, exitItems()...)...)
	default:
		add("EXIT STATUS", exitItems()...)
	}
	add("FILES", fileItems(flagNames(flags))...)

	refs := []string{ref(program, 1), ref(packagedConfigName, 5)}
	for i := 1; i < len(words); i++ {
		refs = append(refs, ref(pageOf(words[:i]...), 1))
	}
	for _, sub := range c.Subcommands {
		refs = append(refs, ref(pageOf(append(slices.Clip(words), sub.Name)...), 1))
	}
	if parent := words[:len(words)-1]; len(parent) > 0 {
		for _, s := range siblings {
			if s != c && !s.Hidden {
				refs = append(refs, ref(pageOf(append(slices.Clip(parent), s.Name)...), 1))
			}
		}
	}
	p.Sections = append(p.Sections, seeAlso(refs))
	return p
}

func section(title string, blocks ...manpage.Block) manpage.Section {
	return manpage.Section{Title: title, Blocks: blocks}
}

func ref(page string, section int) string { return fmt.Sprintf("`%s`(%d)", page, section) }

func seeAlso(refs []string) manpage.Section {
	return section("SEE ALSO", manpage.Text(strings.Join(refs, ",\n")),
		manpage.Text("The documents that are named here, all in docs, lie in /usr/share/doc/edgebroker and at\n"+projectURL+"."))
}

func commandItems(list []*cli.Command, words []string) (items []manpage.Block) {
	for _, c := range list {
		if !c.Hidden {
			page := ref(pageOf(append(slices.Clip(words), c.Name)...), 1)
			items = append(items, manpage.Item{Term: c.Name, Text: c.Usage + ". See " + page + "."})
		}
	}
	return items
}

// examplesOf is an example of each command, for a page about all of them.
func examplesOf(list []*cli.Command) string {
	var lines []string
	for _, c := range list {
		_, examples, _ := strings.Cut(c.UsageText, "\n\n")
		first, _, _ := strings.Cut(examples, "\n")
		lines = append(lines, cmp.Or(first, examplesOf(c.Subcommands)))
	}
	return strings.Join(lines, "\n")
}

// optionItems says of flags what --help does, but for what depends on the
// machine and the user.
func optionItems(flags []cli.Flag) (items []manpage.Block) {
	for _, f := range flags {
		names, usage, _ := strings.Cut(f.String(), "\t")
		names, _, _ = strings.Cut(names, " [ ") // how it looks when it is given again
		usage = strings.ReplaceAll(usage, appliance.DefaultSocket(), packagedSocket)
		items = append(items, manpage.Item{Term: names, Text: usage})
	}
	return items
}

func exitItems() (items []manpage.Block) {
	for _, m := range exitMeanings() {
		items = append(items, manpage.Item{Term: strconv.Itoa(m.code), Text: m.text})
	}
	return items
}

// fileItems is the files that commands with these flags deal with, where a
// package has them.
func fileItems(flags []string) (items []manpage.Block) {
	for _, f := range []struct{ flag, path, text string }{
		{"config", packagedConfig, "The configuration."},
		{"dir", home{filepath.Dir(packagedConfig)}.users(), "Users, and hashes of their passwords."},
		{"dir", home{filepath.Dir(packagedConfig)}.rules(), "What clients may do."},
		{"dir", home{filepath.Dir(packagedConfig)}.pki(), "The broker's certificate, its authority, and those of devices."},
		{"socket", packagedSocket, "Where commands reach the daemon."},
		{"data", packagedState, "What the daemon stores."},
	} {
		if slices.Contains(flags, f.flag) {
			items = append(items, manpage.Item{Term: f.path, Text: f.text})
		}
	}
	if len(items) == 0 {
		items = append(items, manpage.Item{Term: "/usr/bin/" + program, Text: "The program; it needs no other file."})
	}
	return items
}
