package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// What a healthy pair does: this many messages per second, of so many bytes,
// so many open at a time.
const (
	healthyRate  = 20
	healthySize  = 200
	healthyOpen  = 8
	settleWait   = 20 * time.Second // for what is on its way at the end
	healthyAlive = 60               // keep alive, in seconds
)

// pair is a publisher and a subscriber of one topic. Both stay connected for
// all the time: an end of either is a failure.
type pair struct {
	n        int
	pub, sub *link.Link

	mu        sync.Mutex // guards everything that follows
	sent      []time.Time
	acked     uint64
	refused   uint64
	delivered uint64
	slowest   time.Duration
	wrong     []string
	quiet     bool // nothing more is to come, so that an end is none of our business
}

// pairs are the healthy clients.
type pairs struct {
	list []*pair
	stop context.CancelFunc
	pubs sync.WaitGroup
	subs sync.WaitGroup
}

func startPairs(ctx context.Context, address string, n int) (*pairs, error) {
	run, stop := context.WithCancel(ctx)
	ps := &pairs{stop: stop}
	for i := range n {
		p := &pair{n: i}
		var err error
		if p.sub, err = connect(ctx, address, fmt.Sprintf("healthy-sub-%d", i), 3600); err == nil {
			err = subscribe(p.sub, fmt.Sprintf("healthy/%d", i), 1)
		}
		if err == nil {
			p.pub, err = connect(ctx, address, fmt.Sprintf("healthy-pub-%d", i), 0)
		}
		if err != nil {
			stop()
			return nil, err
		}
		ps.list = append(ps.list, p)
	}
	for _, p := range ps.list {
		open := make(chan struct{}, healthyOpen)
		ps.subs.Go(p.receive)
		ps.subs.Go(func() { p.acknowledged(open) })
		ps.pubs.Go(func() { p.publish(run, open) })
	}
	return ps, nil
}

func (p *pair) fail(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.quiet && len(p.wrong) < 3 {
		p.wrong = append(p.wrong, fmt.Sprintf("pair %d: ", p.n)+fmt.Sprintf(format, args...))
	}
}

// publish sends at the rate until ctx ends.
func (p *pair) publish(ctx context.Context, open chan struct{}) {
	tick := time.NewTicker(time.Second / healthyRate)
	defer tick.Stop()
	topic := []byte(fmt.Sprintf("healthy/%d", p.n))
	payload := make([]byte, healthySize)
	for n := uint64(0); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return
		case open <- struct{}{}:
		}
		binary.BigEndian.PutUint64(payload, n)
		p.mu.Lock()
		p.sent = append(p.sent, time.Now())
		p.mu.Unlock()
		o := wire.Out{Version: wire.V5, QoS: 1, Topic: topic, Payload: payload}
		if err := p.pub.Write(wire.AppendPublish(nil, &o, uint16(n%65535)+1)); err != nil {
			p.fail("publish %d: %v", n, err)
			return
		}
	}
}

// acknowledged reads the answers, which come in order.
func (p *pair) acknowledged(open chan struct{}) {
	for n := uint64(0); ; {
		f, err := p.pub.Read()
		if err != nil {
			p.fail("publisher: %v", err)
			return
		}
		if f.Type == wire.DISCONNECT {
			p.fail("publisher was disconnected: % x", f.Raw)
		}
		if f.Type != wire.PUBACK {
			continue
		}
		id, reason, err := wire.DecodeAck(f, wire.V5)
		if err != nil || id != uint16(n%65535)+1 {
			p.fail("answer %d instead of one to message %d, %v", id, n, err)
			return
		}
		p.mu.Lock()
		p.slowest = max(p.slowest, time.Since(p.sent[n]))
		if reason >= wire.UnspecifiedError {
			p.refused++
		} else {
			p.acked++
		}
		p.mu.Unlock()
		n++
		<-open
	}
}

// receive takes the messages and looks at their order.
func (p *pair) receive() {
	next := uint64(0)
	for {
		f, err := p.sub.Read()
		if err != nil {
			p.fail("subscriber: %v", err)
			return
		}
		if f.Type == wire.DISCONNECT {
			p.fail("subscriber was disconnected: % x", f.Raw)
		}
		if f.Type != wire.PUBLISH {
			continue
		}
		d, err := wire.DecodeDelivery(f, wire.V5)
		if err != nil || len(d.Payload) < 8 {
			p.fail("delivery: %v", err)
			return
		}
		switch n := binary.BigEndian.Uint64(d.Payload); {
		case n < next:
			p.fail("message %d came after %d", n, next-1)
		case n > next && p.refusals() == 0:
			p.fail("message %d came, %d did not", n, next)
			next = n + 1
		default:
			next = n + 1
		}
		p.mu.Lock()
		p.delivered++
		p.mu.Unlock()
		if err := p.sub.Write(wire.AppendAck(nil, wire.PUBACK, wire.V5, d.PacketID, wire.Success)); err != nil {
			p.fail("acknowledge: %v", err)
			return
		}
	}
}

func (p *pair) refusals() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// finish ends publishing and waits until all that was sent has been answered
// and delivered, or that takes too long.
func (ps *pairs) finish(exited <-chan struct{}) {
	ps.stop()
	ps.pubs.Wait()
	patience := time.NewTimer(settleWait)
	defer patience.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-exited:
			waiting = false
		case <-patience.C:
			waiting = false
		case <-tick.C:
			waiting = false
			for _, p := range ps.list {
				p.mu.Lock()
				done := p.acked+p.refused == uint64(len(p.sent)) && p.delivered >= p.acked
				p.mu.Unlock()
				waiting = waiting || !done
			}
		}
	}
	for _, p := range ps.list {
		p.mu.Lock()
		p.quiet = true
		p.mu.Unlock()
		p.pub.Conn.Close()
		p.sub.Conn.Close()
	}
	ps.subs.Wait()
}

// report adds up what the pairs have in their books.
func (ps *pairs) report(r *result) {
	for _, p := range ps.list {
		r.acked += p.acked
		r.delivered += p.delivered
		r.refused += p.refused
		r.slowest = max(r.slowest, p.slowest)
		r.wrong = append(r.wrong, p.wrong...)
		switch {
		case p.delivered < p.acked:
			r.wrong = append(r.wrong, fmt.Sprintf("pair %d: %d messages acknowledged, %d delivered", p.n, p.acked, p.delivered))
		case p.acked == 0:
			r.wrong = append(r.wrong, fmt.Sprintf("pair %d: nothing was acknowledged", p.n))
		}
		if open := uint64(len(p.sent)) - p.acked - p.refused; open > 0 {
			r.wrong = append(r.wrong, fmt.Sprintf("pair %d: %d messages were never answered", p.n, open))
		}
	}
	if r.refused > 0 {
		r.wrong = append(r.wrong, fmt.Sprintf("%d healthy messages were refused", r.refused))
	}
}
