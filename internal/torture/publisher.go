package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// publisher sends numbered messages at QoS 1 and 2 and retained values, with a
// window of several at a time, and does with what is unanswered at the end of
// a connection what MQTT demands: it sends it again, in order, under the same
// packet ids. Its connections end at random.
type publisher struct {
	fleet   *fleet
	id      int
	name    string
	version wire.Version
	window  int
	rng     *rand.Rand
	wake    chan struct{} // something was answered
	answers atomic.Uint64 // how many

	mu      sync.Mutex
	pending []*pending // unanswered, in the order of first sending
	lastID  uint16
}

// pending is a message on its way to the broker.
type pending struct {
	packetID uint16
	n        uint64
	stream   stream
	cell     *cell // nil for a message of stream
	qos      byte
	topic    string
	payload  []byte
	taken    bool // QoS 2: PUBREC has come, PUBREL is due
}

func newPublisher(f *fleet, i int) *publisher {
	rng := f.rng(uint64(100 + i))
	windows := []int{1, 5, 20, 50}
	return &publisher{
		fleet: f, id: i, name: publisherName(i), version: version(i), rng: rng,
		window: windows[rng.IntN(len(windows))], wake: make(chan struct{}, 1),
	}
}

func (p *publisher) run(ctx context.Context) {
	for ctx.Err() == nil {
		c := kept(p.version, p.name)
		l, ack, err := link.Open(ctx, p.fleet.where(p.id), &c, replyWait)
		if err != nil {
			_ = pause(ctx, between(p.rng, 2*time.Millisecond, 30*time.Millisecond)) // ctx is checked above
			continue
		}
		p.fleet.books.connected(p.name, ack.SessionPresent)
		p.fleet.trace.note(p.name, "connected, session present %v", ack.SessionPresent)
		p.serve(ctx, l, ack.SessionPresent)
	}
}

// serve lives through one connection.
func (p *publisher) serve(ctx context.Context, l *link.Link, present bool) {
	gone := make(chan struct{})
	again := p.unanswered(present)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(gone)
		for {
			f, err := l.ReadWithin(time.Hour)
			if err == nil {
				err = p.answer(l, f)
			}
			if err != nil {
				p.fleet.trace.note(p.name, "connection ended: %v", err)
				l.Conn.Close()
				return
			}
		}
	})
	defer reader.Wait()
	defer l.Conn.Close()
	if len(again) > 0 && l.Write(again) != nil {
		return
	}
	end := time.Now().Add(between(p.rng, 50*time.Millisecond, 20*time.Second))
	silent, answers := time.Now(), p.answers.Load()
	var due time.Time // of the next messages
	for {
		wait, woken := 10*time.Millisecond, p.wake
		if left := time.Until(due); left > 0 {
			wait, woken = left, nil
		} else if free := p.free(); free > 0 && p.mayPublish() {
			count := 1 + p.rng.IntN(free)
			if p.publish(l, count) != nil {
				return
			}
			wait = time.Duration(p.rng.ExpFloat64() * float64(count) * publishers / p.fleet.rate * float64(time.Second))
			due, woken = time.Now().Add(wait), nil // the pace is not the broker's
		}
		select {
		case <-ctx.Done():
			return
		case <-gone:
			return
		case <-woken:
		case <-time.After(min(wait, time.Second)):
		}
		if n := p.answers.Load(); n != answers || p.free() == p.window {
			answers, silent = n, time.Now()
		}
		if time.Since(silent) > replyWait {
			p.fleet.trace.note(p.name, "nothing answered for %v; connecting anew", replyWait)
			return
		}
		if time.Now().After(end) && !p.fleet.paused.Load() {
			if p.rng.IntN(2) == 0 {
				l.Goodbye()
			}
			return
		}
	}
}

func (p *publisher) mayPublish() bool {
	f := p.fleet
	return !f.paused.Load() && (f.freely.Load() || f.books.behind() < f.maxBehind)
}

func (p *publisher) free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.window - len(p.pending)
}

// unanswered is what a new connection begins with. A broker that does not know
// the session any more knows no packet ids either: messages are then new.
func (p *publisher) unanswered(present bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b []byte
	for _, m := range p.pending {
		if m.taken && !present {
			m.taken = false
		}
		if m.taken {
			p.fleet.trace.note(p.name, "PUBREL %d again", m.packetID)
			b = wire.AppendAck(b, wire.PUBREL, p.version, m.packetID, wire.Success)
			continue
		}
		p.fleet.trace.note(p.name, "PUBLISH %d again: message %d of %v", m.packetID, m.n, m.topic)
		b = m.append(b, p.version, present)
	}
	return b
}

func (m *pending) append(b []byte, v wire.Version, dup bool) []byte {
	return wire.AppendPublish(b, &wire.Out{Version: v, QoS: m.qos, Dup: dup, Retain: m.cell != nil, Topic: []byte(m.topic), Payload: m.payload}, m.packetID)
}

// publish sends count new messages in one write.
func (p *publisher) publish(l *link.Link, count int) error {
	var b []byte
	for range count {
		m := p.next()
		p.fleet.trace.note(p.name, "PUBLISH %d: message %d of %v at QoS %d", m.packetID, m.n, m.topic, m.qos)
		b = m.append(b, p.version, false)
	}
	return l.Write(b)
}

// next makes a message and enters it.
func (p *publisher) next() *pending {
	m := &pending{qos: byte(1 + p.rng.IntN(2))}
	if p.rng.IntN(10) == 0 {
		c := cell{p.id, p.rng.IntN(cells)}
		m.cell, m.qos = &c, byte(1+c.index%2) // one QoS per cell: order holds within
		m.n = p.fleet.books.set(c)
		m.topic, m.payload = cellTopic(c), cellPayload(c, m.n, p.size())
	} else {
		m.stream = stream{p.id, p.rng.IntN(topics), m.qos}
		m.n = p.fleet.books.send(m.stream)
		m.topic, m.payload = streamTopic(m.stream), streamPayload(m.stream, m.n, p.size())
	}
	p.fleet.open.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	m.packetID = p.packetIDLocked()
	p.pending = append(p.pending, m)
	return m
}

// size is that of a payload: mostly small, as telemetry is, at times not.
func (p *publisher) size() int {
	switch k := p.rng.IntN(1000); {
	case k < 3:
		return int(between(p.rng, 8<<10, 200<<10))
	case k < 60:
		return 1<<10 + p.rng.IntN(7<<10)
	}
	return minPayload + p.rng.IntN(300)
}

// packetIDLocked is an unused packet id out of few, so that ids come up again
// soon and stale state under them shows.
func (p *publisher) packetIDLocked() uint16 {
	for {
		p.lastID = p.lastID%uint16(p.window+10) + 1
		used := false
		for _, m := range p.pending {
			used = used || m.packetID == p.lastID
		}
		if !used {
			return p.lastID
		}
	}
}

// answer takes in a frame from the broker.
func (p *publisher) answer(l *link.Link, f wire.Frame) error {
	if f.Type < wire.PUBACK || f.Type > wire.PUBCOMP {
		return nil
	}
	id, reason, err := wire.DecodeAck(f, p.version)
	if err != nil {
		return err
	}
	p.fleet.trace.note(p.name, "got %v %d, %v", f.Type, id, reason)
	reply := p.settle(f.Type, id, reason)
	p.answers.Add(1)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if reply {
		return l.Write(wire.AppendAck(nil, wire.PUBREL, p.version, id, wire.Success))
	}
	return nil
}

// settle carries an acknowledgement out and tells whether PUBREL is due.
func (p *publisher) settle(t wire.Type, id uint16, reason wire.Reason) (release bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.pending {
		if m.packetID != id {
			continue
		}
		over := false
		switch {
		case t == wire.PUBACK && m.qos == 1, t == wire.PUBREC && m.qos == 2 && reason >= wire.UnspecifiedError:
			p.enter(m, reason)
			over = true
		case t == wire.PUBREC && m.qos == 2:
			if !m.taken {
				m.taken = true
				p.fleet.books.keeps(p.name)
				p.enter(m, reason)
			}
			return true
		case t == wire.PUBCOMP && m.taken:
			over = true
		}
		if over {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			p.fleet.open.Add(-1)
		}
		return false
	}
	return t == wire.PUBREC && reason < wire.UnspecifiedError // of an earlier connection: let go of it
}

// enter enters in the books what became of a message.
func (p *publisher) enter(m *pending, reason wire.Reason) {
	b := p.fleet.books
	switch refused := reason >= wire.UnspecifiedError; {
	case m.cell != nil && refused:
		b.refuseValue(*m.cell, m.n)
	case m.cell != nil:
		b.acceptValue(*m.cell, m.n)
	case refused:
		b.refuse(m.stream, m.n)
	default:
		b.accept(m.stream, m.n)
	}
}
