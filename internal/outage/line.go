package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// line is a bad line to the far broker: it is slow, and every few seconds it
// breaks, in one of the ways in which lines break.
type line struct {
	listener net.Listener
	to       string
	delay    time.Duration // each way

	mu    sync.Mutex
	conns map[*pair]struct{}
	down  bool // whoever connects is turned away
	dials int
}

// pair is one connection through the line.
type pair struct {
	near, far net.Conn
	mu        sync.Mutex
	deaf      bool // nothing passes any more, and nobody is told
}

func newLine(host, to string, delay time.Duration) (*line, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return &line{listener: l, to: to, delay: delay, conns: make(map[*pair]struct{})}, nil
}

func (l *line) serve() {
	for {
		nc, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.dials++
		down := l.down
		l.mu.Unlock()
		if down {
			nc.Close()
			continue
		}
		go l.connect(nc)
	}
}

func (l *line) connect(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	p := &pair{near: near, far: far}
	l.mu.Lock()
	l.conns[p] = struct{}{}
	l.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() { l.carry(p, way[0], way[1]); done <- struct{}{} }()
	}
	<-done
	near.Close()
	far.Close()
	<-done
	l.mu.Lock()
	delete(l.conns, p)
	l.mu.Unlock()
}

// carry passes on what comes, later, until one side ends.
func (l *line) carry(p *pair, from, to net.Conn) {
	type piece struct {
		b   []byte
		due time.Time
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 16<<10)
			n, err := from.Read(b)
			if n > 0 {
				pieces <- piece{b[:n], time.Now().Add(l.delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for x := range pieces {
		time.Sleep(time.Until(x.due))
		p.mu.Lock()
		deaf := p.deaf
		p.mu.Unlock()
		if deaf {
			continue
		}
		if _, err := to.Write(x.b); err != nil {
			break
		}
	}
	from.Close()
	for range pieces { // until the reader has noticed
	}
}

// flap breaks the line now and then until ctx ends, and leaves it whole.
func (l *line) flap(ctx context.Context, every time.Duration) (times int) {
	each := func(f func(*pair)) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for p := range l.conns {
			f(p)
		}
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return times
		case <-time.After(every):
		}
		times++
		switch rand.IntN(3) {
		case 0: // cut
			each(func(p *pair) { p.near.Close(); p.far.Close() })
		case 1: // half open
			each(func(p *pair) { p.mu.Lock(); p.deaf = true; p.mu.Unlock() })
		default: // away for a while
			l.mu.Lock()
			l.down = true
			l.mu.Unlock()
			each(func(p *pair) { p.near.Close(); p.far.Close() })
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
			l.mu.Lock()
			l.down = false
			l.mu.Unlock()
		}
	}
	return times
}

// runLine publishes for a while over a bad line.
func runLine(ctx context.Context, o options) error {
	far, near, err := o.brokers()
	if err != nil {
		return err
	}
	l, err := newLine(o.lineHost, far.address, o.delay)
	if err != nil {
		return err
	}
	defer l.listener.Close()
	go l.serve()
	if err := o.uplinkTo(near, l.listener.Addr().String()); err != nil {
		return err
	}
	defer near.kill()
	defer far.kill()
	if err := far.start(ctx); err != nil {
		return err
	}
	sub := newSubscriber(far.address, false)
	if err := sub.connect(ctx); err != nil {
		return err
	}
	defer sub.close()
	if err := near.start(ctx); err != nil {
		return err
	}
	bad, whole := context.WithTimeout(ctx, o.line)
	defer whole()
	flaps := make(chan int, 1)
	go func() { flaps <- l.flap(bad, o.flap) }()

	list, err := publishFor(bad, near.address, o.rate)
	if err != nil {
		return err
	}
	for _, p := range list {
		sub.total += p.count()
	}
	times := <-flaps
	l.mu.Lock()
	dials := l.dials
	l.mu.Unlock()
	early := near.memory()
	fmt.Printf("published %d messages in %v while the line, %v each way, broke %d times; %d connections were tried\n", sub.total, o.line, o.delay, times, dials)
	if dials > 4*times+10 {
		return fmt.Errorf("%d connections were tried for %d breaks: a storm", dials, times)
	}
	began := time.Now()
	if err := sub.receive(ctx, sub.total); err != nil {
		return err
	}
	fmt.Printf("received all %d, %v after the line was whole again; lost 0, out of order %d, twice at QoS 2 0, again at QoS 1 %d\n", sub.total, time.Since(began).Round(time.Millisecond), sub.late, sub.again)
	fmt.Printf("largest memory of the gateway %s, at the end of the bad time %s\n", mebibytes(near.memory()), mebibytes(early))
	return nil
}

// publishFor publishes at a rate until ctx ends, and waits for the answers.
func publishFor(ctx context.Context, address string, rate int) ([]*publisher, error) {
	var list []*publisher
	var wg sync.WaitGroup
	failures := make(chan error, publishers)
	for i := range publishers {
		p := &publisher{id: i, address: address, done: make(map[int]bool), halved: make(map[int]bool)}
		list = append(list, p)
		wg.Go(func() {
			if err := p.paced(ctx, time.Second*publishers/time.Duration(rate)); err != nil {
				failures <- fmt.Errorf("publisher %d: %w", p.id, err)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
		return list, nil
	}
}
