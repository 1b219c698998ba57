package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// printer prints messages until it has the number wanted or cannot write.
// receive and settleLast are called by one goroutine, the rest by another.
type printer struct {
	out          io.Writer
	format       string
	want         int // 0: no end
	retainedOnly bool

	done chan struct{} // closed when there is nothing more to do

	mu      sync.Mutex
	got     int
	over    bool // the last wanted message was printed, or writing failed
	settled bool // and acknowledged: done is closed
	failed  error
}

func newPrinter(out io.Writer, o subOptions) *printer {
	return &printer{out: out, format: o.format, want: o.count, retainedOnly: o.retainedOnly, done: make(chan struct{})}
}

// receive prints one message unless the printer is closed. It is a handler of
// paho's, which calls Ack of the session next, whatever the quality of service.
func (p *printer) receive(m paho.PublishReceived) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.retainedOnly && !m.Packet.Retain {
		return true, nil
	}
	if err := writeMessage(p.out, p.format, m.Packet, time.Now()); err != nil {
		p.failed, p.over = fmt.Errorf("write message: %w", err), true
		return true, nil
	}
	p.got++
	p.over = p.want > 0 && p.got == p.want
	return true, nil
}

// settleLast wakes the waiter if the last wanted message is out.
func (p *printer) settleLast() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over && !p.settled {
		p.settled = true
		close(p.done)
	}
}

// closed tells whether messages are no longer printed, so that they must not
// be acknowledged either.
func (p *printer) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settled || p.failed != nil
}

func (p *printer) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// wait returns when the wanted messages are printed, when the user or the
// timeout (0: none) ends it, or when the connection breaks.
func (p *printer) wait(ctx context.Context, conn *mqttConn, timeout time.Duration) error {
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-p.done:
		return p.err()
	case <-conn.up.Done():
		return p.short(context.Cause(conn.up))
	case <-expired:
		return p.shortOf(fmt.Sprintf("timed out after %v", timeout))
	case <-ctx.Done():
		return p.shortOf("interrupted")
	}
}

// short is why unless everything wanted was printed.
func (p *printer) short(why error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil && p.over {
		return nil
	}
	return why
}

// shortOf is nil unless a number of messages was wanted and not reached.
func (p *printer) shortOf(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.failed != nil:
		return p.failed
	case p.want == 0 || p.got >= p.want:
		return nil
	}
	return fmt.Errorf("%s with %d of %d messages", what, p.got, p.want)
}
