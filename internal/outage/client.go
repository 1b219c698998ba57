package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// patience is how long nothing may happen.
const patience = 2 * time.Minute

// open connects as a client whose session is kept.
func open(ctx context.Context, address, id string) (*link.Link, error) {
	l, _, err := link.Open(ctx, address, &wire.Connect{Version: wire.V5, ClientID: id, SessionExpiry: 86400}, patience)
	return l, err
}

// publisher publishes numbers in order, and keeps its side of the session.
type publisher struct {
	id      int
	address string
	total   int
	every   time.Duration // between two messages; 0: as fast as they are taken
	began   time.Time

	mu     sync.Mutex
	acked  int          // numbers below this are done with
	done   map[int]bool // further ones
	halved map[int]bool // at QoS 2: those whose PUBREC came
}

func (p *publisher) qos() byte {
	if p.id%2 == 0 {
		return 2
	}
	return 1
}

// packetID of a number; it is another one only after 60,000 others.
func packetID(n int) uint16 { return uint16(n%60_000) + 1 }

// publishAll publishes everything, over as many connections as it takes, and
// kills the gateway when so many messages have been taken.
func publishAll(ctx context.Context, list []*publisher, gateway *broker, killAt int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, p := range list {
		p.done, p.halved = make(map[int]bool), make(map[int]bool)
		wg.Go(func() {
			for failures := 0; p.count() < p.total; failures++ {
				if err := p.once(ctx); err != nil && (failures > 200 || ctx.Err() != nil) {
					cancel(fmt.Errorf("publisher %d: %w", p.id, err))
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	sum := func() (n int) {
		for _, p := range list {
			n += p.count()
		}
		return n
	}
	for sum() < killAt && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	gateway.kill()
	if err := gateway.start(ctx); err != nil {
		cancel(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

// once publishes over one connection until all is done or it breaks.
func (p *publisher) once(ctx context.Context) error {
	l, err := open(ctx, p.address, fmt.Sprint("pub", p.id))
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	next := p.resend(l)
	for p.count() < p.total {
		var out []byte
		for ; next < min(p.total, p.count()+window, p.due()); next++ {
			out = append(out, p.frame(next, false)...)
		}
		if next == p.count() { // nothing will be answered
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(min(p.every, 10*time.Millisecond)):
			}
			continue
		}
		if err := l.Write(out); err != nil {
			return err
		}
		f, err := l.ReadWithin(patience)
		if err != nil {
			return err
		}
		id, reason, err := wire.DecodeAck(f, wire.V5)
		if err != nil {
			return err
		}
		if f.Type != wire.PUBCOMP && reason >= wire.UnspecifiedError { // PUBCOMP may not know an exchange that was over before
			return fmt.Errorf("got %v with %v", f.Type, reason)
		}
		if f.Type == wire.PUBREC {
			p.mark(p.halved, id, false)
			if err := l.Write(wire.AppendAck(nil, wire.PUBREL, wire.V5, id, 0)); err != nil {
				return err
			}
			continue
		}
		p.mark(p.done, id, true)
	}
	return nil
}

// due is how many messages may have been published by now.
func (p *publisher) due() int {
	if p.every == 0 {
		return p.total
	}
	return int(time.Since(p.began)/p.every) + 1
}

// paced publishes one message after the other over one connection until ctx ends.
func (p *publisher) paced(ctx context.Context, every time.Duration) error {
	l, err := open(ctx, p.address, fmt.Sprint("pub", p.id))
	if err != nil {
		return err
	}
	defer l.Conn.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := l.Write(p.frame(p.acked, false)); err != nil {
			return err
		}
		for n := p.acked; p.acked == n; {
			f, err := l.ReadWithin(patience)
			if err != nil {
				return err
			}
			id, reason, err := wire.DecodeAck(f, wire.V5)
			if err != nil || reason >= wire.UnspecifiedError {
				return fmt.Errorf("got %v with %v: %v", f.Type, reason, err)
			}
			if f.Type != wire.PUBREC {
				p.mark(p.done, id, true)
			} else if err := l.Write(wire.AppendAck(nil, wire.PUBREL, wire.V5, id, 0)); err != nil {
				return err
			}
		}
	}
}

// resend sends again what was under way, and returns what comes after it.
func (p *publisher) resend(l *link.Link) (next int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []byte
	last := p.acked + window
	for next = p.acked; next < min(last, p.total); next++ {
		switch {
		case p.done[next]:
		case p.halved[next]:
			out = wire.AppendAck(out, wire.PUBREL, wire.V5, packetID(next), 0)
		default:
			out = append(out, p.frame(next, true)...)
		}
	}
	_ = l.Write(out) // a broken connection shows when it is read
	return next
}

func (p *publisher) frame(n int, dup bool) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: p.qos(), Dup: dup, Topic: fmt.Appendf(nil, "out/%d", p.id), Payload: fmt.Appendf(nil, "%d %d", p.id, n)}, packetID(n))
}

// mark notes what came for a packet identifier, and moves on.
func (p *publisher) mark(set map[int]bool, id uint16, advance bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.acked/60_000*60_000 + int(id) - 1
	if n < p.acked {
		n += 60_000
	}
	if n >= p.acked+60_000-window { // of one that is done with
		return
	}
	set[n] = true
	for advance && p.done[p.acked] {
		delete(p.done, p.acked)
		delete(p.halved, p.acked)
		p.acked++
	}
}

// subscriber checks what comes out at the far side.
type subscriber struct {
	address string
	total   int
	next    []int          // number that each publisher's next message has
	early   []map[int]bool // further ones, which came before it
	got     int            // different messages
	again   int            // repeated at QoS 1
	late    int            // came after one that was published later
	lenient bool           // such are counted, not the end
	l       *link.Link
	unread  map[uint16]bool // QoS 2 received and not released
}

func newSubscriber(address string, lenient bool) *subscriber {
	s := &subscriber{address: address, next: make([]int, publishers), early: make([]map[int]bool, publishers), lenient: lenient}
	for i := range s.early {
		s.early[i] = make(map[int]bool)
	}
	return s
}

func (s *subscriber) connect(ctx context.Context) (err error) {
	if s.l, err = open(ctx, s.address, "sub"); err != nil {
		return err
	}
	if s.unread != nil {
		return nil
	}
	s.unread = make(map[uint16]bool)
	sub := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "out/#", QoS: 2}}}
	if err := s.l.Write(wire.AppendSubscribe(nil, wire.V5, &sub)); err != nil {
		return err
	}
	f, err := s.l.ReadWithin(patience)
	if err == nil && f.Type != wire.SUBACK {
		err = fmt.Errorf("got %v instead of SUBACK", f.Type)
	}
	return err
}

func (s *subscriber) close() {
	if s.l != nil {
		s.l.Conn.Close()
		s.l = nil
	}
}

// receive reads until so many different messages have come.
func (s *subscriber) receive(ctx context.Context, until int) error {
	for failures := 0; s.got < until; {
		if s.l == nil {
			if err := s.connect(ctx); err != nil {
				if failures++; failures > 500 || ctx.Err() != nil {
					return err
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
				continue
			}
		}
		f, err := s.l.ReadWithin(patience)
		if err != nil {
			var wait net.Error
			if errors.As(err, &wait) && wait.Timeout() {
				return fmt.Errorf("nothing comes any more after %d of %d messages (%v)", s.got, s.total, s.next)
			}
			s.close()
			continue
		}
		if err := s.take(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *subscriber) take(f wire.Frame) error {
	switch f.Type {
	case wire.PUBREL:
		id, _, err := wire.DecodeAck(f, wire.V5)
		delete(s.unread, id)
		_ = s.l.Write(wire.AppendAck(nil, wire.PUBCOMP, wire.V5, id, 0))
		return err
	case wire.PUBLISH:
	default:
		return nil
	}
	p, err := wire.DecodeDelivery(f, wire.V5)
	if err != nil {
		return err
	}
	switch p.QoS {
	case 1:
		_ = s.l.Write(wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, 0))
	case 2:
		_ = s.l.Write(wire.AppendAck(nil, wire.PUBREC, wire.V5, p.PacketID, 0))
		if s.unread[p.PacketID] {
			return nil // [MQTT-4.3.3-10]
		}
		s.unread[p.PacketID] = true
	}
	from, number, _ := strings.Cut(string(p.Payload), " ")
	id, err1 := strconv.Atoi(from)
	n, err2 := strconv.Atoi(number)
	if err1 != nil || err2 != nil || id >= len(s.next) {
		return fmt.Errorf("got %q", p.Payload)
	}
	switch want := s.next[id]; {
	case n == want:
		s.next[id]++
		s.got++
		for s.early[id][s.next[id]] {
			delete(s.early[id], s.next[id])
			s.next[id]++
			s.late++
		}
	case n > want && s.lenient && !s.early[id][n]:
		s.early[id][n] = true
		s.got++
	case n > want && !s.lenient:
		return fmt.Errorf("publisher %d: got message %d, and %d is missing or comes later", id, n, want)
	case p.QoS == 2:
		return fmt.Errorf("publisher %d: got message %d again at QoS 2", id, n)
	default:
		s.again++
	}
	return nil
}
