package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
)

func clientsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "clients",
		Usage: "list, show and disconnect clients",
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "list the clients, also those whose session waits for them",
				UsageText: `edgebroker clients list
edgebroker clients list --sort latency --top 10`,
				Flags: append([]cli.Flag{
					outputFlag("table", "json", "jsonl"),
					&cli.StringFlag{Name: "sort", Value: statsd.DefaultOrder, Usage: "order by `NAME`: " + strings.Join(statsd.ClientOrders(), ", ")},
					topFlag(),
				}, controlFlags()...),
				Action: func(c *cli.Context) error { return listClients(e, c) },
			},
			{
				Name:      "show",
				Usage:     "show one client with its subscriptions",
				UsageText: "edgebroker clients show pump-7",
				ArgsUsage: "ID",
				Flags:     append([]cli.Flag{outputFlag("table", "json", "jsonl")}, controlFlags()...),
				Action:    func(c *cli.Context) error { return showClient(e, c) },
			},
			{
				Name:      "kick",
				Usage:     "disconnect clients; they may come back",
				UsageText: "edgebroker clients kick pump-7 pump-8",
				ArgsUsage: "ID...",
				Flags:     controlFlags(),
				Action:    func(c *cli.Context) error { return kickClients(e, c) },
			},
		},
	}
}

func listClients(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	order := c.String("sort")
	if !slices.Contains(statsd.ClientOrders(), order) {
		return usageError("clients list", "--sort %q is unknown; there is %s", order, strings.Join(statsd.ClientOrders(), ", "))
	}
	top, err := topOf(c)
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var clients []statsd.Client
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		clients, err = daemon.client.Clients(ctx, order, top)
		return err
	})
	if err != nil {
		return err
	}
	if format != "table" {
		return writeList(e.stdout, clients, format)
	}
	if len(clients) == 0 {
		_, err := fmt.Fprintln(e.stdout, "no client is connected, and no session is kept for one")
		return err
	}
	return statsd.WriteClients(e.stdout, clients)
}

func showClient(e *env, c *cli.Context) error {
	args, format, err := e.asked(c, 1, 1, "the client id")
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	var client statsd.Client
	err = daemon.ask(c.Context, func(ctx context.Context) (err error) {
		client, err = daemon.client.Client(ctx, args[0])
		return err
	})
	if errors.Is(err, statsd.ErrNotFound) {
		return unknownClient(args[0], "known")
	}
	if err != nil {
		return err
	}
	if format != "table" {
		return writeJSON(e.stdout, client, format == "json")
	}
	return writeClient(e.stdout, &client, time.Now())
}

func writeClient(w io.Writer, cl *statsd.Client, now time.Time) error {
	table := newTable("")
	table.fact("id", "%s", cl.ID)
	if cl.Username != "" {
		table.fact("user", "%s", cl.Username)
	}
	switch {
	case cl.Connected && cl.ConnectedAt.IsZero():
		table.fact("connected", "inside: it is a part of the broker")
	case cl.Connected:
		table.fact("connected", "for %s, from %s to listener %s", span(now.Sub(cl.ConnectedAt)), cl.Remote, cl.Listener)
	default:
		table.fact("connected", "no; its session waits for it")
	}
	table.fact("protocol", "MQTT %s, keep alive %s, %s", cl.Protocol, seconds(uint32(cl.KeepAlive), "off"), startWord(cl.CleanStart))
	table.fact("session", "%s", sessionWords(cl.SessionExpiry))
	table.fact("received", "%s, %s payload, %s on the wire", messages(cl.Received.Messages), size(cl.Received.PayloadBytes), size(cl.ReceivedBytes))
	table.fact("sent", "%s, %s payload, %s on the wire", messages(cl.Sent.Messages), size(cl.Sent.PayloadBytes), size(cl.SentBytes))
	table.fact("queued", "%s, %s; %s in flight", messages(cl.Queued.Messages), size(cl.Queued.Bytes), count(cl.Inflight))
	table.fact("dropped", "%s", count(cl.Dropped))
	table.fact("waiting", "%s", waitingWords(cl))
	table.fact("subscriptions", "%d", cl.Subscriptions)
	for _, f := range cl.Filters {
		table.fact("", "%s (QoS %d)", f.Filter, f.QoS)
	}
	return table.writeTo(w)
}

// waitingWords says whether and how a client keeps up.
func waitingWords(cl *statsd.Client) string {
	text := fmt.Sprintf("oldest message for %s", span(time.Duration(cl.Waited*float64(time.Second))))
	if cl.WaitedAtLeast {
		text += " at least"
	}
	text += fmt.Sprintf(", %s not taken by the network, %s so far", size(cl.Pending), things(cl.Stalls, "stall"))
	if cl.Slow {
		text += "; it is slow"
	}
	return text
}

func startWord(clean bool) string {
	if clean {
		return "clean start"
	}
	return "session resumed if there is one"
}

func sessionWords(expiry uint32) string {
	switch expiry {
	case 0:
		return "ends with the connection"
	case math.MaxUint32:
		return "kept for ever after the connection ends"
	}
	return fmt.Sprintf("kept for %s after the connection ends", seconds(expiry, ""))
}

// seconds words a number of seconds, 0 as none.
func seconds(n uint32, none string) string {
	if n == 0 {
		return none
	}
	return span(time.Duration(n) * time.Second)
}

// kickClients disconnects each client and says nothing if all were connected.
func kickClients(e *env, c *cli.Context) error {
	args, err := e.positionals(c, 1, -1, "the client id")
	if err != nil {
		return err
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	for _, id := range args {
		err := daemon.ask(c.Context, func(ctx context.Context) error { return daemon.client.Kick(ctx, id) })
		if errors.Is(err, statsd.ErrNotFound) {
			return unknownClient(id, "connected")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func unknownClient(id, what string) error {
	return &failure{code: exitError, err: fmt.Errorf("client %q is not %s", id, what), hint: "`edgebroker clients list` names those that are"}
}
