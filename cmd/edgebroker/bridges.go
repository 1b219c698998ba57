package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(table, "NAME\tSTATE\tFOR\tANSWERED\tWAITING\tIN FLIGHT\tACKED\tRECEIVED\tREFUSED\tDROPPED\tADDRESS")
	for i := range list {
		b := &list[i]
		_, e := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Name, b.State, span(now.Sub(b.Since)), tripWords(b, now), queueWords(b.Queued),
			count(b.Inflight), count(b.Acked), count(b.Received.Messages), count(b.Refused), count(b.Dropped), b.Address)
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, table.Flush()); err != nil {
		return err
	}
	for i := range list {
		if b := &list[i]; b.Why != "" {
			fmt.Fprintf(&out, "%s: %s\n", b.Name, printable(b.Why))
		}
	}
	_, err = io.WriteString(w, out.String())
	return err
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
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, format string, a ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, printable(fmt.Sprintf(format, a...)))
	}
	line("name", "%s", b.Name)
	line("far side", "%s, as client %s", b.Address, b.ClientID)
	line("state", "%s for %s", b.State, span(now.Sub(b.Since)))
	if b.Why != "" {
		line("why", "%s", b.Why)
	}
	if b.LastError != "" && b.LastError != b.Why {
		line("last error", "%s ago: %s", span(now.Sub(b.LastErrorAt)), b.LastError)
	}
	if !b.LastHeard.IsZero() {
		line("last answer", "%s ago", span(now.Sub(b.LastHeard)))
	}
	line("round trip", "%s; canaries sent: %s", tripWords(b, now), count(b.Canaries))
	if b.CanaryNote != "" {
		line("canaries", "%s", b.CanaryNote)
	}
	line("connected", "%s times in %s attempts", count(b.Connects), count(b.Attempts))
	line("waiting", "%s, %s; %s", messages(b.Queued.Messages), size(b.Queued.Bytes), map[bool]string{true: "kept over a restart", false: "lost by a restart, since there is no data directory"}[b.Persistent])
	if b.Inflight > 0 {
		line("in flight", "%s, the oldest for %s", messages(b.Inflight), span(time.Duration(b.Unanswered*float64(time.Second))))
	}
	line("sent", "%s, %s payload; %s of them again, duplicates as the far side says: %s", messages(b.Sent.Messages), size(b.Sent.PayloadBytes), count(b.Retried), count(b.Duplicates))
	line("taken over", "%s", messages(b.Acked))
	line("received", "%s, %s payload; %s of them perhaps again", messages(b.Received.Messages), size(b.Received.PayloadBytes), count(b.Repeated))
	line("refused", "%s, by the far side or because they do not fit", messages(b.Refused))
	line("dead letters", "%s, see `edgebroker bridges dead-letters`", messages(int64(b.Dead)))
	line("dropped", "%s in all", messages(b.Dropped))
	line("in a circle", "%s", messages(b.Loops))
	if e := b.Events; e != nil {
		line("events of clients", "%s sent, %s received, %s dropped, %s refused", count(e.Sent), count(e.Received), count(e.Dropped), count(e.Refused))
	}
	return tw.Flush()
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
