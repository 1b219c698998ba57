package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/events"
)

func eventsCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "events",
		Usage: "watch connections, messages and drops as they happen",
		UsageText: `edgebroker events
edgebroker events --type connection --type disconnection
edgebroker events --topic 'plant/+/temp' -o json | jq .data.payload
edgebroker events --client sensor-7 --count 10
edgebroker events --since 2h --client sensor-7             what was recorded
edgebroker events --since 14:00 --follow                   and then what happens
edgebroker events --since 3d --data /var/lib/edgebroker    without a daemon`,
		Description: `Types: connection, disconnection, message, subscription, unsubscription, drop,
refusal, bridge, system. Conditions add up. Recorded are connections,
disconnections, refusals and what the broker says of itself, as far back as
events.recorder in the config has room. JSON output has one event per line:
id, type, source, timestamp and data.`,
		Flags: append([]cli.Flag{
			outputFlag("table", "json", "jsonl"),
			&cli.StringSliceFlag{Name: "type", Aliases: []string{"t"}, Usage: "only events of `TYPE`; may be repeated"},
			&cli.StringFlag{Name: "client", Usage: "only events of the client `ID`"},
			&cli.StringFlag{Name: "topic", Usage: "only messages and drops on topics that match `FILTER`"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, DefaultText: "no end", Usage: "stop after `N` events"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "with --since: go on with what happens then"},
		}, append(pastFlags(), controlFlags()...)...),
		Action: func(c *cli.Context) error { return runEvents(e, c) },
	}
}

// errEnough ends the stream when the wanted number of events has come.
var errEnough = errors.New("enough events")

func runEvents(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	want := c.Int("count")
	if want < 0 || c.IsSet("count") && want == 0 {
		return usageError("events", "--count %d is not positive", want)
	}
	filter := events.Filter{Client: c.String("client"), Topic: c.String("topic")}
	for _, t := range c.StringSlice("type") {
		filter.Types = append(filter.Types, events.Type(t))
	}
	recorded, back, err := past(c, time.Now())
	if err != nil {
		return err
	}
	got := 0
	show := func(ev events.Event) error {
		if err := writeEvent(e.stdout, format, back, ev); err != nil {
			return err
		}
		if got++; got == want {
			return errEnough
		}
		return nil
	}
	if back {
		if err := readHistory(e, c, recorded, filter, show); err != nil && !errors.Is(err, errEnough) && c.Context.Err() == nil {
			return err
		}
		if got == 0 && format == "table" && c.Context.Err() == nil {
			e.notef("%s", nothingRecorded(filter))
		}
		return nil
	}
	daemon, err := openControl(c)
	if err != nil {
		return err
	}
	err = daemon.client.Events(c.Context, filter, nil, show)
	switch {
	case errors.Is(err, errEnough):
		return nil
	case c.Context.Err() != nil && want == 0:
		return nil
	case c.Context.Err() != nil:
		return fmt.Errorf("interrupted with %d of %d events", got, want)
	case err == nil:
		return errors.New("the daemon closed the event stream: it is stopping")
	}
	return daemon.explain(c.Context, err)
}

// nothingRecorded says why there may be nothing that fits f in what was recorded.
func nothingRecorded(f events.Filter) string {
	said := "nothing that fits was recorded"
	for _, t := range f.Types {
		switch t {
		case events.Message:
			return said + "; messages are recorded only with events.recorder.messages"
		case events.Drop:
			return said + "; `edgebroker drops` has what was lost"
		case events.Subscription, events.Unsubscription:
			return said + "; subscriptions are not recorded, leave --since out to watch them"
		}
	}
	switch {
	case f.Topic != "":
		return said + "; --topic is of messages, which are recorded only with events.recorder.messages, and drops, which `edgebroker drops` has"
	case f.Client != "":
		return said + "; --client is a client identifier, not a user name"
	}
	return said
}

// writeEvent writes one event. Of those of the past it says the day, too.
func writeEvent(w io.Writer, format string, day bool, ev events.Event) error {
	if format != "table" {
		return writeJSON(w, ev, false)
	}
	layout := "15:04:05.000"
	if day {
		layout = "2006-01-02 " + layout
	}
	_, err := fmt.Fprintf(w, "%s  %-14s  %s\n", ev.Time.Local().Format(layout), printable(string(ev.Type)), printable(eventText(ev)))
	return err
}

// eventText says in one line what happened. It may hold untrusted text as it
// came.
func eventText(ev events.Event) string {
	switch d := ev.Data.(type) {
	case events.ConnectionData:
		if d.Bridge != "" {
			return fmt.Sprintf("%s%s (told by uplink %s%s)", d.ClientID, asUser(d.Username), d.Bridge, ofGateway(d.Gateway))
		}
		return fmt.Sprintf("%s from %s%s (MQTT %s, listener %s, keep alive %s)", d.ClientID, d.Remote, asUser(d.Username), d.Protocol, d.Listener, seconds(uint32(d.KeepAlive), "off"))
	case events.DisconnectionData:
		if d.Bridge != "" {
			return fmt.Sprintf("%s%s: %s (told by uplink %s%s)", d.ClientID, asUser(d.Username), d.Reason, d.Bridge, ofGateway(d.Gateway))
		}
		return fmt.Sprintf("%s from %s%s: %s (after %s, %d in, %d out)", d.ClientID, d.Remote, asUser(d.Username), because(d.Reason, d.Error), span(d.Duration), d.Received, d.Sent)
	case events.MessageData:
		flags := fmt.Sprintf("QoS %d", d.QoS)
		if d.Retain {
			flags += ", retain"
		}
		from := d.ClientID
		if ev.Source != d.ClientID && d.ClientID != "" && ev.Source != events.Source {
			from = ev.Source + " by " + d.ClientID
		}
		return fmt.Sprintf("%s %s (%s, %s): %s", from, d.Topic, flags, size(d.Size), excerpt(d.Payload))
	case events.SubscriptionData:
		shared := ""
		if d.Shared != "" {
			shared = ", shared as " + d.Shared
		}
		return fmt.Sprintf("%s %s (QoS %d%s)", d.ClientID, d.Filter, d.QoS, shared)
	case events.UnsubscriptionData:
		return d.ClientID + " " + d.Filter
	case events.DropData:
		return fmt.Sprintf("%s %s: %s (QoS %d, from %s, %d times)", orDash(d.ClientID), d.Topic, d.Reason, d.QoS, orDash(d.Publisher), d.Count)
	case events.RefusalData:
		return refusalText(d)
	case events.BridgeData:
		if d.Why == "" {
			return fmt.Sprintf("%s is %s", d.Bridge, d.State)
		}
		return fmt.Sprintf("%s is %s: %s", d.Bridge, d.State, d.Why)
	case events.SlowData:
		return slowText(d)
	case events.SystemData:
		return strings.TrimSpace(d.What + " " + d.Detail)
	}
	return fmt.Sprintf("%s %s", ev.Source, fmt.Sprint(ev.Data))
}

func ofGateway(name string) string {
	if name == "" {
		return ""
	}
	return ", at gateway " + name
}

func slowText(d events.SlowData) string {
	if d.State == events.SlowEnds {
		return fmt.Sprintf("%s keeps up again, after %s", d.ClientID, span(time.Duration(d.Lasted*float64(time.Second))))
	}
	return fmt.Sprintf("%s does not keep up: %s and %s wait for it, for %s", d.ClientID, things(d.Queued, "message"), size(d.Pending),
		span(time.Duration(d.Waited*float64(time.Second))))
}

// excerpt is the beginning of a payload, as much as fits a line.
func excerpt(payload []byte) string {
	const longest = 80 // bytes
	if len(payload) <= longest {
		return string(payload)
	}
	return strings.ToValidUTF8(string(payload[:longest]), "") + "..."
}

func asUser(name string) string {
	if name == "" {
		return ""
	}
	return " as " + name
}

func because(reason, err string) string {
	if err == "" {
		return reason
	}
	return reason + ", " + err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
