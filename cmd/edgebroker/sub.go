package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"
	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/wire"
)

func subCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:      "sub",
		Usage:     "print the messages that arrive",
		ArgsUsage: "FILTER...",
		UsageText: `edgebroker sub '#'                                      everything: topic, space, payload
edgebroker sub -o json 'plant/+/temp' 'alarm/#'
edgebroker sub --retained-only '#'                      what is retained now, then stop
edgebroker sub -o raw --count 1 camera/1 > photo.jpg    one payload, byte for byte
edgebroker sub --id log --keep-session --qos 1 '#'      goes on where it left off`,
		Description: `Text output has one line per message; what is not printable text is escaped.
JSON output has one object per line: topic, payload (or payloadBase64), qos,
retain, time, and the message's properties. Raw output is the payloads alone,
with nothing between them.`,
		Flags: append([]cli.Flag{
			outputFlag("text", "json", "jsonl", "raw"),
			&cli.IntFlag{Name: "qos", Aliases: []string{"q"}, Usage: "ask for quality of service `N`: 0, 1 or 2"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, DefaultText: "no end", Usage: "stop after `N` messages"},
			&cli.DurationFlag{Name: "timeout", DefaultText: "no end", Usage: "stop after `DURATION`; with --count, fewer messages are an error then"},
			&cli.BoolFlag{Name: "no-local", Usage: "leave out messages that this client id published"},
			&cli.BoolFlag{Name: "retained-only", Usage: "print the retained messages and stop"},
			&cli.BoolFlag{Name: "no-retained", Usage: "leave out the retained messages"},
			&cli.BoolFlag{Name: "keep-session", Usage: "go on with the session of --id, and leave it behind"},
			&cli.DurationFlag{Name: "session-expiry", Value: time.Hour, Usage: "how long the broker keeps that session (`DURATION`)"},
		}, mqttFlags()...),
		Action: func(c *cli.Context) error { return runSub(e, c) },
	}
}

// subOptions is what the flags of sub say.
type subOptions struct {
	filters      []paho.SubscribeOptions
	format       string
	count        int           // 0: no end
	timeout      time.Duration // 0: no end
	retainedOnly bool
	verbose      bool
	connect      *paho.Connect
	broker       endpoint
}

func subPlan(e *env, c *cli.Context) (o subOptions, err error) {
	args, err := e.positionals(c, 1, -1, "the topic filter")
	if err != nil {
		return o, err
	}
	if o.format, err = outputFormat(c, "text", "json", "jsonl", "raw"); err != nil {
		return o, err
	}
	qos, err := qosFlag(c, "qos")
	if err != nil {
		return o, err
	}
	o.count, o.timeout = c.Int("count"), c.Duration("timeout")
	o.retainedOnly, o.verbose = c.Bool("retained-only"), c.Bool("verbose")
	keep, expiry := c.Bool("keep-session"), c.Duration("session-expiry")
	switch {
	case o.count < 0:
		return o, usageError("sub", "--count %d is negative", o.count)
	case o.timeout < 0:
		return o, usageError("sub", "--timeout %v is negative", o.timeout)
	case o.retainedOnly && (qos > 0 || keep || c.Bool("no-retained")):
		return o, usageError("sub", "--retained-only goes with QoS 0, and not with --keep-session or --no-retained")
	case keep && c.String("id") == "":
		return o, usageError("sub", "--keep-session needs --id, which names the session")
	case c.IsSet("session-expiry") && !keep:
		return o, usageError("sub", "--session-expiry needs --keep-session")
	case expiry < time.Second || expiry/time.Second > math.MaxUint32:
		return o, usageError("sub", "--session-expiry %v is not between 1s and %ds", expiry, uint32(math.MaxUint32))
	}
	for _, filter := range args {
		if err := wire.ValidFilter(filter); err != nil {
			return o, usageError("sub", "topic filter %q is not valid: %v", filter, err)
		}
		so := paho.SubscribeOptions{Topic: filter, QoS: qos, NoLocal: c.Bool("no-local")}
		if c.Bool("no-retained") {
			so.RetainHandling = 2
		}
		o.filters = append(o.filters, so)
	}
	if o.broker, err = broker(c); err != nil {
		return o, err
	}
	if o.connect, err = connectPacket(e, c); err != nil {
		return o, err
	}
	if keep {
		seconds := uint32(expiry / time.Second)
		o.connect.CleanStart, o.connect.Properties.SessionExpiryInterval = false, &seconds
	}
	return o, nil
}

func runSub(e *env, c *cli.Context) error {
	o, err := subPlan(e, c)
	if err != nil {
		return err
	}
	p := newPrinter(e.stdout, o)
	session := &countedSession{SessionManager: state.NewInMemory(), printer: p}
	defer session.Close()
	conn, ack, err := dialMQTT(c.Context, o.broker, o.connect, answerWait, func(config *paho.ClientConfig) {
		config.Session = session
		config.OnPublishReceived = []func(paho.PublishReceived) (bool, error){p.receive}
	})
	if err != nil {
		return err
	}
	defer conn.close()
	if o.verbose && ack.SessionPresent {
		e.notef("session of %q goes on", o.connect.ClientID)
	}
	guarded, cancel := conn.guard(c.Context, answerWait)
	defer cancel()
	granted, err := conn.client.Subscribe(guarded, &paho.Subscribe{Subscriptions: o.filters})
	if err := subscribeError(c.Context, conn, o.filters, granted, err); err != nil {
		return err
	}
	if o.verbose {
		for i, f := range o.filters {
			e.notef("subscribed to %s with QoS %d", f.Topic, granted.Reasons[i])
		}
	}
	if o.retainedOnly {
		return drainRetained(c.Context, conn, p)
	}
	return p.wait(c.Context, conn, o.timeout)
}

// subscribeError says which filters the broker refused, and why.
func subscribeError(ctx context.Context, conn *mqttConn, filters []paho.SubscribeOptions, ack *paho.Suback, err error) error {
	if ack == nil {
		if err == nil || errors.Is(err, paho.ErrInvalidArguments) {
			return err
		}
		return fmt.Errorf("subscribe: %w", conn.explain(ctx, err))
	}
	if len(ack.Reasons) != len(filters) {
		return fmt.Errorf("subscribe: broker answered %d filters of %d", len(ack.Reasons), len(filters))
	}
	var refused []error
	for i, code := range ack.Reasons {
		if code >= 0x80 {
			refused = append(refused, &failure{code: exitError, err: fmt.Errorf("subscribe to %q: refused: %s", filters[i].Topic, reason(code, ack.Properties.ReasonString)),
				hint: ruleHint(code, "subscribe", filters[i].Topic)})
		}
	}
	return errors.Join(refused...)
}

// drainRetained waits until every retained message has been printed: the broker
// sends them before it answers a ping that follows the subscription.
func drainRetained(ctx context.Context, conn *mqttConn, p *printer) error {
	if err := conn.settle(ctx, answerWait); err != nil {
		return err
	}
	conn.close() // and with that, handle what has been read
	return p.err()
}

// countedSession is a session that acknowledges what was printed and nothing
// beyond: messages after the last one wanted stay with the broker, for whoever
// goes on with the session.
type countedSession struct {
	session.SessionManager
	printer *printer
}

// Ack acknowledges pb unless it was not printed, and completes the printer
// once the last wanted message has been acknowledged.
func (s *countedSession) Ack(pb *packets.Publish) error {
	var err error
	if pb.QoS > 0 && !s.printer.closed() {
		err = s.SessionManager.Ack(pb)
	}
	s.printer.settleLast()
	return err
}

// messageJSON is one message of `sub -o json`; its names are stable.
type messageJSON struct {
	Time            time.Time      `json:"time"` // when it arrived here
	Topic           string         `json:"topic"`
	Payload         *string        `json:"payload,omitempty"`       // if it is valid UTF-8
	PayloadBase64   string         `json:"payloadBase64,omitempty"` // otherwise
	QoS             byte           `json:"qos"`
	Retain          bool           `json:"retain"`
	Dup             bool           `json:"dup,omitempty"`
	Expiry          *uint32        `json:"expiry,omitempty"` // seconds
	ContentType     string         `json:"contentType,omitempty"`
	ResponseTopic   string         `json:"responseTopic,omitempty"`
	CorrelationData string         `json:"correlationBase64,omitempty"`
	UserProperties  []userProperty `json:"userProperties,omitempty"`
}

type userProperty struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// writeMessage prints m to w in one of the formats of sub.
func writeMessage(w io.Writer, format string, m *paho.Publish, arrived time.Time) error {
	switch format {
	case "raw":
		_, err := w.Write(m.Payload)
		return err
	case "json", "jsonl":
		return writeJSON(w, describe(m, arrived), false)
	}
	_, err := io.WriteString(w, printable(m.Topic)+" "+printable(string(m.Payload))+"\n")
	return err
}

func describe(m *paho.Publish, arrived time.Time) messageJSON {
	out := messageJSON{
		Time: arrived, Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Dup: m.Duplicate(),
	}
	if text := string(m.Payload); utf8.ValidString(text) {
		out.Payload = &text
	} else {
		out.PayloadBase64 = base64.StdEncoding.EncodeToString(m.Payload)
	}
	if p := m.Properties; p != nil {
		out.Expiry, out.ContentType, out.ResponseTopic = p.MessageExpiry, p.ContentType, p.ResponseTopic
		out.CorrelationData = base64.StdEncoding.EncodeToString(p.CorrelationData)
		for _, u := range p.User {
			out.UserProperties = append(out.UserProperties, userProperty{u.Key, u.Value})
		}
	}
	return out
}
