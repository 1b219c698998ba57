package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/internal/screen"
	"github.com/synthetism/edgebroker/top"
)

func topCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "top",
		Usage: "watch the daemon live: rates, clients, topics, uplinks, events",
		UsageText: `edgebroker top
edgebroker top --tab clients --sort queued
edgebroker top --once                              one picture, for scripts
edgebroker top --once --tab topics --interval 2s   with the rates of two seconds`,
		Description: `Keys: 1 to 5 and Tab for the tabs, s to sort, / to filter, k to kick a client, ? for
all of them, q to quit. On a terminal without UTF-8 it uses ASCII alone, with
NO_COLOR in the environment no colours. docs/TOP.md says what is shown.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "tab", DefaultText: top.Tabs()[0], Usage: "begin with the tab `NAME`: " + strings.Join(top.Tabs(), ", ")},
			&cli.StringFlag{Name: "sort", Usage: "order clients, or the tab named by --tab, by `NAME`", DefaultText: "rate; messages for topics"},
			&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "look again every `DURATION`"},
			&cli.BoolFlag{Name: "once", Usage: "print one picture as plain text and exit"},
			&cli.BoolFlag{Name: "ascii", Usage: "use ASCII alone"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runTop(e, c) },
	}
}

func runTop(e *env, c *cli.Context) error {
	if _, err := e.positionals(c, 0, 0); err != nil {
		return err
	}
	o, err := topOptions(c)
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	o.Patience = daemon.wait
	if c.Bool("once") {
		width, _ := strconv.Atoi(os.Getenv("COLUMNS"))
		if width < 20 || width > 1000 {
			width = 80
		}
		return daemon.explain(c.Context, top.Once(c.Context, e.stdout, daemon.client, o, width))
	}
	term, err := screen.Open(e.stdin, e.stdout)
	if err != nil || os.Getenv("TERM") == "dumb" {
		f := usageError("top", "top needs a terminal that can be drawn on, for input and output")
		f.hint = "for scripts there are `edgebroker top --once` and `edgebroker stats -o json`"
		return f
	}
	return top.Run(c.Context, term, daemon.client, o)
}

// topOptions reads the flags.
func topOptions(c *cli.Context) (top.Options, error) {
	o := top.Options{
		Interval: c.Duration("interval"), Order: c.String("sort"), Rates: c.IsSet("interval"), EventText: eventText,
		ASCII: c.Bool("ascii") || !showsUnicode(os.Getenv), Color: os.Getenv("NO_COLOR") == "",
	}
	if o.Interval < 100*time.Millisecond || o.Interval > time.Hour {
		return o, usageError("top", "--interval %v is outside 100ms to 1h", o.Interval)
	}
	if name := c.String("tab"); name != "" {
		if o.Tab = slices.Index(top.Tabs(), name); o.Tab < 0 {
			return o, usageError("top", "--tab %q is unknown; there is %s", name, strings.Join(top.Tabs(), ", "))
		}
	} else if o.Order != "" {
		o.Tab = slices.Index(top.Tabs(), "clients")
	}
	if o.Order != "" && !top.Known(o.Tab, o.Order) {
		known := strings.Join(top.Orders(o.Tab), ", ")
		if known == "" {
			known = "none"
		}
		return o, usageError("top", "--sort %q is unknown for the tab %s; there is %s", o.Order, top.Tabs()[o.Tab], known)
	}
	return o, nil
}

// showsUnicode tells from the environment whether a terminal shows more than ASCII.
// The console of Linux has a font of few characters.
func showsUnicode(getenv func(string) string) bool {
	if getenv("TERM") == "linux" {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}
