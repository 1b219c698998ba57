package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func bridgesCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "bridges",
		Usage: "list, show, test, pause and resume uplinks to other brokers",
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "list the uplinks, how they are and what waits for them",
				UsageText: `edgebroker bridges list
edgebroker bridges list -o json`,
				Description: `STATE is up when the far side answers, stalled when it is connected and does not,
down or connecting when it cannot be reached, and paused. docs/BRIDGES.md says more.`,
				Flags:  append([]cli.Flag{outputFlag("table", "json", "jsonl")}, controlFlags()...),
				Action: func(c *cli.Context) error { return listBridges(e, c) },
			},
			{
				Name:      "show",
				Usage:     "show one uplink and its lanes, with all that is counted",
				UsageText: "edgebroker bridges show cloud",
				ArgsUsage: "NAME[/LANE]",
				Flags:     append([]cli.Flag{outputFlag("table", "json", "jsonl")}, controlFlags()...),
				Action:    func(c *cli.Context) error { return showBridge(e, c) },
			},
			{
				Name:      "pause",
				Usage:     "disconnect uplinks; messages wait until they are resumed, or the broker is restarted",
				UsageText: "edgebroker bridges pause cloud",
				ArgsUsage: "NAME[/LANE]...",
				Flags:     controlFlags(),
				Action:    func(c *cli.Context) error { return pauseBridges(e, c, true) },
			},
			{
				Name:      "resume",
				Usage:     "let uplinks connect again",
				UsageText: "edgebroker bridges resume cloud",
				ArgsUsage: "NAME[/LANE]...",
				Flags:     controlFlags(),
				Action:    func(c *cli.Context) error { return pauseBridges(e, c, false) },
			},
			testBridgeCommand(e),
			deadLettersCommand(e),
		},
	}
}

// askBridges asks the broker for its uplinks.
func askBridges(c *cli.Context) (list []statsd.Bridge, err error) {
	daemon, err := openControl(c)
	if err != nil {
		return nil, err
	}
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		list, err = daemon.client.Bridges(ctx)
		return err
	})
	return list, err
}

func listBridges(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	list, err := askBridges(c)
	if err != nil {
		return err
	}
	if format != "table" {
		return writeList(e.stdout, list, format)
	}
	return writeBridges(e.stdout, list, time.Now())
}

func writeBridges(w io.Writer, list []statsd.Bridge, now time.Time) error {
	if len(list) == 0 {
		_, err := io.WriteString(w, "there are no uplinks; docs/BRIDGES.md says how to make one\n")
		return err
	}
	table := newTable("NAME\tSTATE\tFOR\tANSWERED\tWAITING\tIN FLIGHT\tACKED\tRECEIVED\tREFUSED\tDROPPED\tADDRESS")
	for i := range list {
		b := &list[i]
		table.row("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", b.Name, b.State, span(now.Sub(b.Since)), tripWords(b, now), queueWords(b.Queued),
			count(b.Inflight), count(b.Acked), count(b.Received.Messages), count(b.Refused), count(b.Dropped), b.Address)
	}
	for i := range list {
		if b := &list[i]; b.Why != "" {
			table.line("%s: %s", b.Name, printable(b.Why))
		}
	}
	return table.writeTo(w)
}

// tripWords words when the far side has last answered a message, and how fast.
func tripWords(b *statsd.Bridge, now time.Time) string {
	if b.RoundTripAt.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s ago in %s", span(now.Sub(b.RoundTripAt)), time.Duration(b.RoundTrip*float64(time.Second)).Round(10*time.Microsecond))
}

// queueWords words what waits, its size if there is any.
func queueWords(s statsd.Store) string {
	if s.Messages == 0 {
		return "0"
	}
	return fmt.Sprintf("%s (%s)", count(s.Messages), size(s.Bytes))
}

func showBridge(e *env, c *cli.Context) error {
	args, format, err := e.asked(c, 1, 1, "the name of the uplink")
	if err != nil {
		return err
	}
	list, err := askBridges(c)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(b statsd.Bridge) bool { return b.Name != args[0] && !strings.HasPrefix(b.Name, args[0]+"/") })
	if len(list) == 0 {
		return unknownBridge(args[0])
	}
	for i := range list {
		switch {
		case format != "table":
			err = errors.Join(err, writeJSON(e.stdout, list[i], format == "json"))
		default:
			if i > 0 {
				_, err = io.WriteString(e.stdout, "\n")
			}
			err = errors.Join(err, writeBridge(e.stdout, &list[i], time.Now()))
		}
	}
	return err
}

func unknownBridge(name string) error {
	return &failure{code: exitError, err: fmt.Errorf("there is no uplink %q", name), hint: "`edgebroker bridges list` names them"}
}

func writeBridge(w io.Writer, b *statsd.Bridge, now time.Time) error {
	table := newTable("")
	table.fact("name", "%s", b.Name)
	table.fact("far side", "%s, as client %s", b.Address, b.ClientID)
	table.fact("state", "%s for %s", b.State, span(now.Sub(b.Since)))
	if b.Why != "" {
		table.fact("why", "%s", b.Why)
	}
	if b.LastError != "" && b.LastError != b.Why {
		table.fact("last error", "%s ago: %s", span(now.Sub(b.LastErrorAt)), b.LastError)
	}
	if !b.LastHeard.IsZero() {
		table.fact("last answer", "%s ago", span(now.Sub(b.LastHeard)))
	}
	table.fact("round trip", "%s; canaries sent: %s", tripWords(b, now), count(b.Canaries))
	if b.CanaryNote != "" {
		table.fact("canaries", "%s", b.CanaryNote)
	}
	table.fact("connected", "%s times in %s attempts", count(b.Connects), count(b.Attempts))
	table.fact("waiting", "%s, %s; %s", messages(b.Queued.Messages), size(b.Queued.Bytes), map[bool]string{true: "kept over a restart", false: "lost by a restart, since there is no data directory"}[b.Persistent])
	if b.Inflight > 0 {
		table.fact("in flight", "%s, the oldest for %s", messages(b.Inflight), span(time.Duration(b.Unanswered*float64(time.Second))))
	}
	table.fact("sent", "%s, %s payload; %s of them again, duplicates as the far side says: %s", messages(b.Sent.Messages), size(b.Sent.PayloadBytes), count(b.Retried), count(b.Duplicates))
	table.fact("taken over", "%s", messages(b.Acked))
	table.fact("received", "%s, %s payload; %s of them perhaps again", messages(b.Received.Messages), size(b.Received.PayloadBytes), count(b.Repeated))
	if b.Overrun > 0 {
		table.fact("overrun", "%s came faster than they were taken in, and were lost", messages(b.Overrun))
	}
	table.fact("refused", "%s, by the far side or because they do not fit", messages(b.Refused))
	table.fact("dead letters", "%s, see `edgebroker bridges dead-letters`", messages(b.Dead))
	table.fact("dropped", "%s in all", messages(b.Dropped))
	table.fact("in a circle", "%s", messages(b.Loops))
	if e := b.Events; e != nil {
		table.fact("events of clients", "%s sent, %s received, %s dropped, %s refused", count(e.Sent), count(e.Received), count(e.Dropped), count(e.Refused))
	}
	return table.writeTo(w)
}

// pauseBridges pauses or resumes each uplink and says nothing if all is done.
func pauseBridges(e *env, c *cli.Context, pause bool) error {
	args, err := e.positionals(c, 1, -1, "the name of the uplink")
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	for _, name := range args {
		err := daemon.ask(c.Context, func(ctx context.Context) error { return daemon.client.PauseBridge(ctx, name, pause) })
		if errors.Is(err, statsd.ErrNotFound) {
			return unknownBridge(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
