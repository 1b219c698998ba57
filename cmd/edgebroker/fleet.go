package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func fleetCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "fleet",
		Usage: "list the gateways on the same NATS system, and how they are",
		UsageText: `edgebroker fleet
edgebroker fleet -o json
edgebroker fleet --watch --interval 5s`,
		Description: `The daemon asks, by its uplinks with nats.fleet, and waits --wait for answers. A
gateway that has answered it earlier and does not now is away. docs/FLEET.md says more.`,
		Flags: append([]cli.Flag{outputFlag("table", "json", "jsonl"),
			&cli.DurationFlag{Name: "wait", Value: time.Second, Usage: "wait `DURATION` for answers, up to 5s"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show them again and again, until interrupted"},
			&cli.DurationFlag{Name: "interval", Value: 5 * time.Second, Usage: "with --watch, wait `DURATION` in between"},
		}, controlFlags()...),
		Action: func(c *cli.Context) error { return runFleet(e, c) },
	}
}

func runFleet(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	wait, interval := c.Duration("wait"), c.Duration("interval")
	switch {
	case wait < 10*time.Millisecond || wait > 5*time.Second:
		return usageError("fleet", "--wait %v is not from 10ms to 5s", wait)
	case interval < time.Second:
		return usageError("fleet", "--interval %v is below 1s", interval)
	case c.IsSet("interval") && !c.Bool("watch"):
		return usageError("fleet", "--interval needs --watch")
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	show := func(ctx context.Context, w io.Writer) error {
		var list statsd.Fleet
		err := daemon.ask(ctx, func(ctx context.Context) (err error) {
			list, err = daemon.client.Fleet(ctx, wait)
			return err
		})
		if err != nil {
			return err
		}
		switch format {
		case "json":
			return writeJSON(w, list, true)
		case "jsonl":
			return writeJSON(w, list, false)
		}
		return writeFleet(w, list, time.Now())
	}
	if !c.Bool("watch") {
		return show(c.Context, e.stdout)
	}
	return watch(c.Context, e.stdout, format == "table", interval, show)
}

func writeFleet(w io.Writer, f statsd.Fleet, now time.Time) error {
	if len(f.Gateways) == 0 {
		_, err := io.WriteString(w, "no uplink is in a fleet; docs/FLEET.md says how to make it so\n")
		return err
	}
	table := newTable("GATEWAY\tCLIENT ID\tSEEN\tVERSION\tUPTIME\tCLIENTS\tIN/s\tOUT/s\tDROPPED\tUPLINKS")
	for i := range f.Gateways {
		g := &f.Gateways[i]
		table.row("%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%.1f\t%s\t%s", printable(g.Name), printable(g.ClientID), seenWords(g, now), printable(g.Version),
			span(time.Duration(g.Uptime*float64(time.Second))), count(g.Clients), g.Received, g.Sent, count(g.Dropped), printable(uplinkWords(g.Uplinks)))
	}
	for _, name := range f.Unasked {
		table.line("uplink %s is down, so nobody could be asked by it", printable(name))
	}
	for _, name := range f.Cut {
		table.line("more gateways answer by uplink %s than are taken: not all are listed, or seem to be away", printable(name))
	}
	return table.writeTo(w)
}

// seenWords says when a gateway has answered last.
func seenWords(g *statsd.FleetGateway, now time.Time) string {
	switch {
	case g.Here:
		return "here"
	case g.Answers:
		return "now"
	}
	return "away for " + span(now.Sub(g.LastSeen))
}

func uplinkWords(list []statsd.FleetUplink) string {
	words := make([]string, len(list))
	for i, u := range list {
		words[i] = u.Name + " " + u.State
		if u.Queued > 0 {
			words[i] += fmt.Sprintf(" (%s waiting)", count(u.Queued))
		}
	}
	return strings.Join(words, ", ")
}
