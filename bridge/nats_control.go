package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/xid"

	"github.com/synthetism/edgebroker/events"
)

// Subjects on which is said who comes and goes.
const (
	connectSubject    = "control.connect"
	disconnectSubject = "control.disconnect"
)

// Bounds on what is said there.
const (
	controlQueue = 1024     // events that wait to be sent
	controlBytes = 64 << 10 // of one that comes in
	controlRate  = 1000     // that come in per second: each is written down, and that may be on flash
)

// headerEpoch tells the gateways apart that say who comes and goes: NATS.Epoch.
const headerEpoch = "Edgebroker-Epoch"

// control says on the far side which clients of this broker come and go, and
// here who does there. Nothing waits for that: what cannot be said at once, for
// want of a connection, is dropped and counted.
type control struct {
	up   *Uplink
	live atomic.Pointer[natsSession] // nil: there is no connection

	sent, received, refused atomic.Uint64
	lost                    atomic.Uint64 // those that sub has dropped are not in it

	mu   sync.Mutex // guards what follows
	sub  *events.Sub
	pace tokenBucket
}

// saysWhoComes reports whether this is an uplink in event mode, and no lane of
// one: it would be said once for each.
func (u *Uplink) saysWhoComes() bool {
	return u.cfg.NATS != nil && u.cfg.NATS.Events != NoEvents && u.cfg.Of == ""
}

// EventCounts are the events of clients that come and go.
type EventCounts struct {
	Sent     uint64 // to the far side
	Received uint64 // from there, about clients that are none of this broker's
	Dropped  uint64 // lost, since there was no connection or they came too fast
	Refused  uint64 // made no sense
}

func (c *control) counts() EventCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := EventCounts{Sent: c.sent.Load(), Received: c.received.Load(), Dropped: c.lost.Load(), Refused: c.refused.Load()}
	if c.sub != nil {
		n.Dropped += c.sub.Dropped()
	}
	return n
}

// begin listens to the events of this broker, until end.
func (c *control) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pace = tokenBucket{rate: controlRate, tokens: controlRate / 10, at: c.up.now()}
	f := events.Filter{Types: []events.Type{events.Connection, events.Disconnection}, Keep: ours}
	c.sub = c.up.bus.Subscribe("uplink "+c.up.cfg.Name, f, controlQueue, c.tell)
}

func (c *control) end() {
	c.mu.Lock()
	sub := c.sub
	c.mu.Unlock()
	sub.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost.Add(sub.Dropped())
	c.sub = nil
}

// ours reports whether e is about a client of this broker.
func ours(e *events.Event) bool {
	switch d := e.Data.(type) {
	case events.ConnectionData:
		return d.Bridge == ""
	case events.DisconnectionData:
		return d.Bridge == ""
	}
	return false
}

// tell says on the far side what has happened here.
func (c *control) tell(e events.Event) {
	s := c.live.Load()
	if s == nil {
		c.lost.Add(1)
		return
	}
	subject := connectSubject
	if e.Type == events.Disconnection {
		subject = disconnectSubject
	}
	gateway := c.up.cfg.gateway()
	body, err := marshal(eventJSON{ID: e.ID, Type: string(e.Type), Source: e.Source, Timestamp: e.Time.UTC().Format(events.TimeLayout),
		Data: e.Data, ClientID: e.About(), Gateway: gateway})
	if err == nil {
		err = s.nc.PublishMsg(&nats.Msg{Subject: subject, Data: body, Header: nats.Header{
			headerGateway: {headerText(gateway)}, headerEpoch: {s.cfg.Epoch}}})
	}
	if err != nil {
		c.lost.Add(1)
		c.up.complain("uplink: an event cannot be sent", "why", err.Error())
		return
	}
	c.sent.Add(1)
}

// listen hears who comes and goes on the far side, for as long as s lives.
func (c *control) listen(s *natsSession) error {
	_, err := s.hear([]string{connectSubject, disconnectSubject}, "", &c.lost, func(m *nats.Msg) { c.hear(s, m) })
	return err
}

var (
	errTooLong  = fmt.Errorf("it is longer than %d bytes", controlBytes)
	errNoClient = errors.New("it names no client")
)

// hear makes an event of what somebody says.
func (c *control) hear(s *natsSession, m *nats.Msg) {
	if m.Header.Get(headerEpoch) == s.cfg.Epoch { // by another uplink of this broker
		return
	}
	c.up.heard()
	c.mu.Lock()
	fast := !c.pace.take(c.up.now())
	c.mu.Unlock()
	if fast {
		c.lost.Add(1)
		return
	}
	e, err := c.event(m)
	if err != nil {
		c.refused.Add(1)
		c.up.complain("uplink: an event makes no sense", "subject", m.Subject, "why", err.Error())
		return
	}
	c.received.Add(1)
	c.up.bus.Publish(e)
	c.answer(s, m, e)
}

// event reads what somebody says: an event, or the fields of its data alone.
func (c *control) event(m *nats.Msg) (events.Event, error) {
	if len(m.Data) > controlBytes {
		return events.Event{}, errTooLong
	}
	top, err := object(m.Data)
	if err != nil {
		return events.Event{}, err
	}
	data, err := object(top["data"])
	if err != nil {
		data = top
	}
	var who, source, remote, user, version, reason, gateway string
	for _, f := range []struct {
		to     *string
		fields map[string]json.RawMessage
		key    string
	}{{&who, data, "clientId"}, {&source, top, "source"}, {&remote, data, "remote"}, {&user, data, "username"}, {&version, data, "protocol"},
		{&reason, data, "reason"}, {&gateway, top, "gateway"}} {
		if *f.to, err = name(f.fields, f.key); err != nil {
			return events.Event{}, err
		}
	}
	if who == "" {
		if who, err = name(top, "clientId"); err != nil {
			return events.Event{}, err
		}
	}
	if who = cmp.Or(who, source); who == "" {
		return events.Event{}, errNoClient
	}
	source, version = cmp.Or(source, who), protocolOf(version)
	if m.Subject == connectSubject {
		return events.New(events.Connection, source, events.ConnectionData{ClientID: who, Username: user, Remote: remote, Protocol: version,
			Bridge: c.up.cfg.Name, Gateway: gateway}), nil
	}
	return events.New(events.Disconnection, source, events.DisconnectionData{ClientID: who, Username: user, Remote: remote, Protocol: version,
		Reason: reasonWord(reason), Bridge: c.up.cfg.Name, Gateway: gateway}), nil
}

// protocolOf is what a client speaks: NATS, unless another gateway says so.
func protocolOf(version string) string {
	switch version {
	case "3.1", "3.1.1", "5":
		return version
	}
	return "nats"
}

// reasonWord is reason, if it is a word as reasons are, and else that of those
// who say goodbye.
func reasonWord(reason string) string {
	if reason == "" || len(reason) > 32 || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "normal"
	}
	return reason
}

// answer lets a component in that waits for that. What is no inbox is nobody
// who waits.
func (c *control) answer(s *natsSession, m *nats.Msg, e events.Event) {
	if !s.inbox(m.Reply) {
		return
	}
	typ, who := "connection.established", e.About()
	if m.Subject == disconnectSubject {
		typ = "connection.ended"
	}
	body, err := marshal(eventJSON{ID: xid.New().String(), Type: typ, Source: events.Source, Timestamp: time.Now().UTC().Format(events.TimeLayout),
		Data: map[string]string{"clientId": who}, Gateway: c.up.cfg.gateway()})
	if err == nil {
		err = s.nc.Publish(m.Reply, body)
	}
	if err != nil {
		c.up.log.Debug("uplink: answer a component", "bridge", c.up.cfg.Name, "error", err)
	}
}

// inbox reports whether subject is one on which somebody waits for an answer, so
// that nobody can have the gateway write elsewhere.
func (s *natsSession) inbox(subject string) bool {
	return strings.HasPrefix(subject, cmp.Or(s.cfg.InboxPrefix, "_INBOX")+".") || strings.HasPrefix(subject, "_INBOX.")
}

// harmless reports whether err says that an answer could not be sent, to an
// inbox that somebody else has named.
func (s *natsSession) harmless(err error) bool {
	_, rest, found := strings.Cut(err.Error(), `Permissions Violation for Publish to "`)
	subject, _, _ := strings.Cut(rest, `"`)
	return found && s.inbox(subject)
}

// settle lets what has happened here so far be said, or gives up after wait.
func (c *control) settle(wait time.Duration) {
	c.mu.Lock()
	sub := c.sub
	c.mu.Unlock()
	if sub == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_ = sub.Settle(ctx) // what is left is dropped, and counted
}
