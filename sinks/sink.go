// Package sinks hands events on to where they are wanted: a file, MQTT topics, a
// web server, the journal of systemd.
//
// A Sink is a subscriber of the bus with a queue of its own, behind filters and
// sampling that run before an event is queued. Where it cannot keep up, or what
// it hands to cannot, events are dropped and counted; nobody else waits. Of the
// events that pass its filters each is, in the end, sent or dropped.
package sinks

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/synthetism/edgebroker/events"
)

// TopicRoot is the first level of the topics on which events are published.
// Events about messages below it are for no sink: they are what one does.
const TopicRoot = "$events"

// Options say which events a Sink gets.
type Options struct {
	Name     string               // tells it apart in logs and statistics
	Types    []events.Type        // empty: see DefaultTypes
	Client   func(id string) bool // keeps the events about these clients; nil: all events. It must be quick, and safe for concurrent use
	Topic    string               // topic filter: keeps messages and drops on such topics; empty: all events
	Sample   int                  // of those that the above keeps, every how many-th; below 2: each
	Queue    int                  // events that may wait
	Payloads bool                 // leave the payloads of messages in
}

// DefaultTypes are those of a sink that names none: messages and drops, of which
// there may be very many, only where a topic filter asks for them.
func DefaultTypes(topic string) []events.Type {
	if topic != "" {
		return []events.Type{events.Message, events.Drop}
	}
	return []events.Type{events.Connection, events.Disconnection, events.Subscription, events.Unsubscription,
		events.Refusal, events.Bridge, events.Slow, events.System}
}

// Target is where events go.
type Target interface {
	// Take hands e over, or counts it as dropped. It is called by one goroutine,
	// and may take its time.
	Take(e events.Event)
	// Reopen has the target begin anew with what lies outside, such as a file.
	// It does not wait.
	Reopen()
	// Counts may be called at any time and does not wait.
	Counts() Counts
	// Close ends the target. What waits is handed over if that can be done before
	// ctx ends, or kept for the next start.
	Close(ctx context.Context) error
}

// Counts are what a Target has counted.
type Counts struct {
	Sent    uint64 // events handed over
	Dropped uint64 // events given up
	Errors  uint64 // attempts that failed
	Waiting int    // events taken and neither sent nor dropped
	Bytes   int64  // that they take
}

// counters are embedded in targets.
type counters struct{ sent, dropped, errors atomic.Uint64 }

func (c *counters) counts() Counts {
	return Counts{Sent: c.sent.Load(), Dropped: c.dropped.Load(), Errors: c.errors.Load()}
}

// Sink carries events from a bus to a Target. Its methods may be called from any
// goroutine.
type Sink struct {
	name     string
	target   Target
	payloads bool
	sub      *events.Sub
}

// Stats describe a Sink at one instant.
type Stats struct {
	Name   string
	Counts // Dropped and Waiting include those of its queue, Bytes does not
}

// Start subscribes a sink that hands over to t. The sink ends with the bus;
// Close then closes t.
func Start(bus *events.Bus, o Options, t Target) *Sink {
	s := &Sink{name: o.Name, target: t, payloads: o.Payloads}
	types := o.Types
	if len(types) == 0 {
		types = DefaultTypes(o.Topic)
	}
	f := events.Filter{Types: types, Topic: o.Topic, Keep: o.keep()}
	s.sub = bus.Subscribe("sink "+o.Name, f, o.Queue, s.take)
	return s
}

// keep is the part of the filter that the bus does not know.
func (o Options) keep() func(*events.Event) bool {
	chosen := events.EveryNth(uint64(max(o.Sample, 1)))
	return func(e *events.Event) bool {
		return !ownDoing(e) && (o.Client == nil || o.Client(e.About())) && chosen(e)
	}
}

// ownDoing reports whether e is about a message that a sink has published.
func ownDoing(e *events.Event) bool {
	var topic string
	switch d := e.Data.(type) {
	case events.MessageData:
		topic = d.Topic
	case events.DropData:
		topic = d.Topic
	}
	rest, ok := strings.CutPrefix(topic, TopicRoot)
	return ok && (rest == "" || rest[0] == '/')
}

// take hands e over, without its payload unless that is wanted.
func (s *Sink) take(e events.Event) {
	if m, ok := e.Data.(events.MessageData); ok && !s.payloads {
		m.Payload = nil
		e.Data = m
	}
	s.target.Take(e)
}

// Name is that of the options.
func (s *Sink) Name() string { return s.name }

// Reopen is that of the target.
func (s *Sink) Reopen() { s.target.Reopen() }

// Stats reads the counters. It does not wait for the target.
func (s *Sink) Stats() Stats {
	sub := s.sub.Stats()
	st := Stats{Name: s.name, Counts: s.target.Counts()}
	st.Dropped += sub.Dropped
	st.Waiting += sub.Open
	return st
}

// Close closes the target, when the bus has been closed. The error says what was
// still going on when ctx ended.
func (s *Sink) Close(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.target.Close(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("close event sink %s: %w", s.name, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close event sink %s: %w", s.name, ctx.Err())
	}
}
