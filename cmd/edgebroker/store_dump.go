package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// dumpedSession is a session that `store dump` prints.
type dumpedSession struct {
	Kind          string               `json:"kind"` // "session"
	Session       string               `json:"session"`
	Username      string               `json:"username,omitempty"`
	Connected     bool                 `json:"connected"`     // or when the broker ended
	SessionExpiry uint32               `json:"sessionExpiry"` // seconds after the connection's end, 4294967295 is never
	Away          float64              `json:"away"`          // seconds that it has been without a connection, while a broker ran
	Queued        int                  `json:"queued"`        // messages that wait or are not acknowledged
	Inbound       int                  `json:"inbound"`       // QoS 2 exchanges that the client has begun
	Subscriptions []dumpedSubscription `json:"subscriptions"`
	Will          *dumpedMessage       `json:"will,omitempty"` // that waits for its delay
}

type dumpedSubscription struct {
	Filter string `json:"filter"`
	QoS    byte   `json:"qos"`
}

// dumpedMessage is a message that `store dump` prints: retained, in a queue, or
// the will of a session. Messages that cannot be read are one with a count.
type dumpedMessage struct {
	Kind          string   `json:"kind,omitempty"`    // "message", "retained" or "unreadable"
	Session       string   `json:"session,omitempty"` // in whose queue it is
	Seq           uint64   `json:"seq,omitempty"`     // its place in there
	Topic         string   `json:"topic,omitempty"`
	QoS           byte     `json:"qos"`
	Retain        bool     `json:"retain,omitempty"` // as it will be sent
	Publisher     string   `json:"publisher,omitempty"`
	Released      bool     `json:"released,omitempty"`      // QoS 2, received by the client: only the end of the exchange is due
	ExpiresIn     *float64 `json:"expiresIn,omitempty"`     // seconds, counted while a broker runs; 0: it has expired
	Size          int      `json:"size"`                    // of the payload, bytes
	Payload       *string  `json:"payload,omitempty"`       // if it is asked for and valid UTF-8
	PayloadBase64 string   `json:"payloadBase64,omitempty"` // if it is asked for and is not
	Count         int      `json:"count,omitempty"`         // of messages that cannot be read
}

func (m *dumpedMessage) setPayload(p []byte) {
	if text := string(p); utf8.ValidString(text) {
		m.Payload = &text
	} else {
		m.PayloadBase64 = base64.StdEncoding.EncodeToString(p)
	}
}

// dump prints a store.
type dump struct {
	out      *bufio.Writer
	json     *listWriter // nil: for people
	empty    bool        // nothing was printed
	payloads bool
	session  string // "": all
	topic    string // filter; "": all
	contents *store.Contents
}

func runStoreDump(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	d := dump{out: bufio.NewWriter(e.stdout), empty: true, payloads: c.Bool("payloads"), session: c.String("session"), topic: c.String("topic")}
	if format != "table" {
		d.json = &listWriter{w: d.out, format: format}
	}
	if d.topic != "" {
		if err := wire.ValidFilter(d.topic); err != nil {
			return usageError(commandPath(c), "topic filter %q is not valid: %v", d.topic, err)
		}
	}
	dir, err := storeDir(c)
	if err != nil {
		return err
	}
	if d.contents, _, err = inspectStore(e, c, dir); err != nil {
		return err
	}
	if d.session != "" && !d.hasSession() {
		return &failure{code: exitError, err: fmt.Errorf("there is no session of client %q", d.session), hint: "`edgebroker store dump` names those that are kept"}
	}
	if err := errors.Join(d.print(), d.out.Flush()); err != nil {
		return storeFailure(c, dir, err)
	}
	return nil
}

// print prints all of it. After an error JSON has no end, so that no part is
// taken for the whole.
func (d *dump) print() error {
	if err := d.sessions(); err != nil {
		return err
	}
	if err := d.messages(); err != nil {
		return err
	}
	return d.end()
}

// end ends the list, or says that there is nothing in it.
func (d *dump) end() error {
	switch {
	case d.json != nil:
		return d.json.end()
	case d.empty && d.topic != "":
		_, err := fmt.Fprintln(d.out, "no message on such a topic is stored")
		return err
	case d.empty:
		_, err := fmt.Fprintln(d.out, "nothing is stored: no session, no message")
		return err
	}
	return nil
}

func (d *dump) hasSession() bool {
	for _, st := range d.contents.Sessions {
		if d.wants(st) {
			return true
		}
	}
	return false
}

func (d *dump) wants(st *store.Session) bool {
	return d.session == "" || st.Terms.ClientID == d.session
}

func (d *dump) sessions() error {
	if d.topic != "" {
		return nil
	}
	for _, st := range d.contents.Sessions {
		if !d.wants(st) {
			continue
		}
		s := d.describe(st)
		d.empty = false
		if d.json != nil {
			if err := d.json.add(s); err != nil {
				return err
			}
			continue
		}
		if err := s.write(d.out); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) describe(st *store.Session) *dumpedSession {
	s := &dumpedSession{Kind: "session", Session: st.Terms.ClientID, Username: st.Terms.Username, Connected: st.Attached,
		SessionExpiry: st.Terms.Expiry, Queued: store.Queued(st), Inbound: len(st.Inbound), Subscriptions: []dumpedSubscription{}}
	if !st.Attached {
		s.Away = max(0, d.contents.Log.Clock-st.Detached).Seconds()
	}
	for _, sub := range st.Subs {
		s.Subscriptions = append(s.Subscriptions, dumpedSubscription{sub.Filter, sub.QoS})
	}
	if w := st.Will; w != nil {
		s.Will = &dumpedMessage{Topic: string(w.Topic), QoS: w.QoS, Retain: w.Retain, Size: len(w.Payload)}
		if d.payloads {
			s.Will.setPayload(w.Payload)
		}
	}
	return s
}

func (s *dumpedSession) write(w io.Writer) error {
	state := fmt.Sprintf("away for %s", span(time.Duration(s.Away*float64(time.Second))))
	if s.Connected {
		state = "connected"
	}
	lines := []string{fmt.Sprintf("session %s%s (%s, %s, %s queued)", s.Session, asUser(s.Username), state, sessionWords(s.SessionExpiry), messages(s.Queued))}
	for _, sub := range s.Subscriptions {
		lines = append(lines, fmt.Sprintf("  subscription %s (QoS %d)", sub.Filter, sub.QoS))
	}
	if s.Will != nil {
		lines = append(lines, "  will "+s.Will.text())
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// text is the message without what kind it is and whose.
func (m *dumpedMessage) text() string {
	if m.Released {
		return fmt.Sprintf("received by the client, QoS %d exchange not over", m.QoS)
	}
	var flags strings.Builder
	fmt.Fprintf(&flags, "QoS %d", m.QoS)
	if m.Retain {
		flags.WriteString(", retain")
	}
	if m.ExpiresIn != nil {
		fmt.Fprintf(&flags, ", expires in %s", span(time.Duration(*m.ExpiresIn*float64(time.Second))))
	}
	if m.Publisher != "" {
		fmt.Fprintf(&flags, ", from %s", m.Publisher)
	}
	text := fmt.Sprintf("%s (%s, %s)", m.Topic, flags.String(), size(m.Size))
	switch {
	case m.Payload != nil:
		text += ": " + *m.Payload
	case m.PayloadBase64 != "":
		text += ": base64 " + m.PayloadBase64
	}
	return text
}

// messages prints the retained messages and those of the queues.
func (d *dump) messages() error {
	return d.contents.Messages(d.payloads, d.wants, func(h store.Held) error {
		if h.Session == nil && d.session != "" {
			return nil
		}
		m := d.message(&h)
		if d.topic != "" && (m.Topic == "" || !wire.MatchTopic(d.topic, m.Topic)) {
			return nil
		}
		d.empty = false
		if d.json != nil {
			return d.json.add(m)
		}
		line := ""
		switch {
		case m.Kind == "unreadable" && h.Session == nil:
			line = fmt.Sprintf("unreadable: retained message of %s", m.Topic)
		case m.Kind == "unreadable":
			line = fmt.Sprintf("unreadable: %s of session %s, from place %d on", messages(m.Count), m.Session, m.Seq)
		case h.Session == nil:
			line = "retained " + m.text()
		default:
			line = fmt.Sprintf("message %d of %s: %s", m.Seq, m.Session, m.text())
		}
		_, err := fmt.Fprintln(d.out, printable(line))
		return err
	})
}

func (d *dump) message(h *store.Held) *dumpedMessage {
	m := &dumpedMessage{Kind: "retained", Topic: h.Topic, Seq: h.Entry.Seq, QoS: h.Entry.QoS, Retain: h.Entry.Retain, Released: h.Entry.HalfAcked, Size: h.Size}
	if h.Session != nil {
		m.Kind, m.Session = "message", h.Session.Terms.ClientID
	}
	if h.Missing > 0 {
		m.Kind, m.Count = "unreadable", h.Missing
	}
	if msg := h.Message; msg != nil {
		m.Topic, m.Publisher = msg.Topic, msg.Publisher
		if h.Session == nil {
			m.QoS, m.Retain = msg.QoS, true
		}
		if msg.Expires() > 0 {
			left := max(0, msg.Expires()-d.contents.Log.Clock).Seconds()
			m.ExpiresIn = &left
		}
		if d.payloads {
			m.setPayload(msg.Payload)
		}
	}
	return m
}
