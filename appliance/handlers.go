package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// On calls fn for every event of a type, or for all of them if the type is
// "*", until unsubscribe is called. It may be called before Start.
//
// A type that is not built in ("users.created") stands for messages whose
// payload is a JSON object with that type: {"type": "users.created", ...}. Of
// such a payload, id, source, timestamp and data become those of the event if
// they are there; else the event names the client, and its data is the whole
// payload, as json.RawMessage.
//
// fn runs on a goroutine of its own behind a queue (config events.queue).
// When that is full the newest event is dropped and counted; when fn panics
// the next event is delivered as usual. unsubscribe waits for a running fn,
// unless fn itself calls it.
func (b *Broker) On(eventType string, fn func(events.Event)) (unsubscribe func()) {
	t := events.Type(eventType)
	f := events.Filter{Types: []events.Type{t}}
	if t != events.Any && !t.BuiltIn() {
		f, fn = custom(t, fn)
	}
	return b.bus.Subscribe("on "+eventType, f, b.conf().Events.Queue, fn).Close
}

// OnTopic calls fn for every message whose topic the MQTT filter matches. See
// On for how fn runs.
func (b *Broker) OnTopic(filter string, fn func(events.Event)) (unsubscribe func(), err error) {
	if err := wire.ValidFilter(filter); err != nil {
		return nil, fmt.Errorf("listen to topic filter %q: %w", filter, err)
	}
	f := events.Filter{Types: []events.Type{events.Message}, Topic: filter}
	return b.bus.Subscribe("on topic "+filter, f, b.conf().Events.Queue, fn).Close, nil
}

// custom listens to messages that name type t. Most messages are told apart
// by a search for its name, which a payload without escapes must hold as it
// is, without parsing.
func custom(t events.Type, fn func(events.Event)) (events.Filter, func(events.Event)) {
	name := []byte(t)
	keep := func(e *events.Event) bool {
		m, ok := e.Data.(events.MessageData)
		return ok && len(m.Payload) > 0 && (bytes.Contains(m.Payload, name) || bytes.IndexByte(m.Payload, '\\') >= 0)
	}
	return events.Filter{Types: []events.Type{events.Message}, Keep: keep}, func(e events.Event) {
		if typed, ok := parseCustom(e); ok && typed.Type == t {
			fn(typed)
		}
	}
}

// parseCustom makes the event of a message whose payload names a type.
func parseCustom(e events.Event) (events.Event, bool) {
	m := e.Data.(events.MessageData)
	var p struct {
		ID        string          `json:"id"`
		Type      events.Type     `json:"type"`
		Source    string          `json:"source"`
		Timestamp json.RawMessage `json:"timestamp"` // a time in any form; only RFC 3339 is taken over
		Data      json.RawMessage `json:"data"`
	}
	if json.Unmarshal(m.Payload, &p) != nil || p.Type == "" {
		return events.Event{}, false
	}
	out := events.Event{ID: e.ID, Type: p.Type, Source: e.Source, Time: e.Time, Data: json.RawMessage(m.Payload)}
	if p.ID != "" {
		out.ID = p.ID
	}
	if p.Source != "" {
		out.Source = p.Source
	}
	var at time.Time
	if json.Unmarshal(p.Timestamp, &at) == nil && !at.IsZero() {
		out.Time = at
	}
	if p.Data != nil {
		out.Data = p.Data
	}
	return out, true
}

// Message is a message for Publish.
type Message struct {
	Topic   string
	Payload []byte // copied
	QoS     byte   // 0, 1 or 2: the most that a subscriber gets it with
	Retain  bool
	Expiry  time.Duration // how long it is worth delivering, rounded up to seconds; 0: for ever
}

// Publish publishes m as the broker itself, also to topics that begin with $.
// It returns when every session that must keep m has it.
func (b *Broker) Publish(ctx context.Context, m Message) error {
	if !b.runs() {
		return fmt.Errorf("publish to %q: %w: it is not running", m.Topic, ErrState)
	}
	expiry, err := expirySeconds(m.Expiry)
	if err != nil {
		return fmt.Errorf("publish to %q: %w", m.Topic, err)
	}
	done := make(relay.Outcome, 1)
	if err := b.relay.Publish(relay.Outgoing{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain,
		Expiry: expiry}, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("publish to %q: %w", m.Topic, ctx.Err())
	}
}

// expirySeconds is d as a message expiry interval, rounded up. What is longer
// than the longest there is, 136 years, becomes that.
func expirySeconds(d time.Duration) (uint32, error) {
	if d < 0 {
		return 0, fmt.Errorf("expiry %v is negative; use 0 for a message that does not expire", d)
	}
	seconds := d / time.Second
	if d%time.Second > 0 {
		seconds++
	}
	return uint32(min(seconds, math.MaxUint32)), nil
}
