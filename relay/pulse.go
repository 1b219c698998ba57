package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// pulseClient and pulseTopic are what messages of Pulse are called on their way.
// Nothing that clients send or subscribe to meets them.
const (
	pulseClient = "$pulse"
	pulseTopic  = "$pulse/beat"
)

// ErrNoPulse is returned by Pulse when a message has not come back.
var ErrNoPulse = errors.New("messages do not pass")

// pulse is a session of the broker's own, for messages to itself. No topic leads
// to it, and it is in no list and in no account.
type pulse struct {
	mu    sync.Mutex // one at a time
	link  pulseLink
	port  *Port // nil until the first
	beats byte
}

// Pulse sends a message from the broker to itself, at QoS 1 and by the way that
// all messages take: subscriptions are looked through for its topic, it is queued
// in a session, given out and acknowledged, and the store's row of commits, if
// there is a store, gets to the end of those before it. It returns nil when all of
// that has happened, else what has not when ctx ends. It counts nowhere, is no
// event, and records nothing. Safe for concurrent use; a second one waits for the
// first.
func (r *Relay) Pulse(ctx context.Context) error {
	came, told := make(chan struct{}), make(Outcome, 1)
	go func() { // it may meet what hangs
		defer close(came)
		r.pulse.mu.Lock()
		defer r.pulse.mu.Unlock()
		r.pulse.beat(r)
	}()
	if err := within(ctx, came, "is not given out"); err != nil {
		return err
	}
	if r.store == nil {
		return nil
	}
	stored := make(chan struct{})
	go func() {
		defer close(stored)
		r.store.Commit(Memory, told)
		<-told // an error is not ours to tell: clients are told, and so is the state of the store
	}()
	return within(ctx, stored, "waits for the store")
}

func within(ctx context.Context, done <-chan struct{}, what string) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: one from the broker to itself %s: %w", ErrNoPulse, what, context.Cause(ctx))
	}
}

// beat sends a message and waits until it has come. The caller holds mu.
func (b *pulse) beat(r *Relay) {
	if b.port == nil {
		b.open(r)
	}
	b.beats++
	m := &Message{Topic: pulseTopic, name: []byte(pulseTopic), Payload: []byte{b.beats}, QoS: 1}
	r.subs.resolve([]byte(pulseTopic)) // nothing is there, and it takes what everybody waits for
	p := publisher{relay: r}
	r.house.turns.RLock()
	p.deliver(&target{session: b.port.session, qos: 1}, []*Message{m})
	r.house.turns.RUnlock()
	p.flush()
	d := <-b.link
	if f, _, err := wire.Scan(wire.AppendAck(nil, wire.PUBACK, wire.V5, d.PacketID, wire.Success), 0); err == nil {
		_ = b.port.Receive(f)
		b.port.Flush()
	}
}

// open makes the session.
func (b *pulse) open(r *Relay) {
	b.link = make(pulseLink, 1)
	s := &Session{relay: r, id: pulseClient, created: time.Now(), opened: 1}
	p := &Port{connect: Connect{ClientID: pulseClient, Version: wire.V5, Standing: true}, told: r.conf(), serial: 1}
	p.publisher = publisher{relay: r, id: pulseClient, source: newSource(pulseClient, "", ""), version: wire.V5, session: s}
	s.port, b.port = p, p
	s.rules.Store(r.rulesFor(pulseClient, ""))
	p.Attach(b.link)
}

// pulseLink is a Taker that hands on what it gets.
type pulseLink chan Delivery

// Take implements Taker. There is room: one message is on its way at a time.
func (l pulseLink) Take(d Delivery) { l <- d }

// Send implements Link; nothing is said to it.
func (pulseLink) Send([]byte) int { return 0 }

// SendShared implements Link.
func (pulseLink) SendShared(_, _ []byte) int { return 0 }

// Pending implements Link.
func (pulseLink) Pending() int { return 0 }

// Flush implements Link.
func (pulseLink) Flush() {}

// Ended implements Link.
func (pulseLink) Ended() bool { return false }

// Kick implements Link.
func (pulseLink) Kick(wire.Reason, string) {}
