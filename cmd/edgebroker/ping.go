package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/log"
)

// pinger keeps an MQTT connection alive and, beyond that, can wait until the
// broker has read everything sent so far: a broker answers in order, so the
// answer to a ping tells it. It implements paho.Pinger.
type pinger struct {
	mu       sync.Mutex
	conn     net.Conn
	sent     uint64        // PINGREQ written or about to be
	answered uint64        // PINGRESP seen
	changed  chan struct{} // closed and replaced whenever answered grows
}

func newPinger(conn net.Conn) *pinger {
	return &pinger{conn: conn, changed: make(chan struct{})}
}

// Run sends a ping every three quarters of keepAlive (seconds; 0: never) until
// ctx ends, and fails when one went unanswered till the next is due.
func (p *pinger) Run(ctx context.Context, _ net.Conn, keepAlive uint16) error {
	if keepAlive == 0 {
		return nil
	}
	tick := time.NewTicker(time.Duration(keepAlive) * time.Second * 3 / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.mu.Lock()
		silent := p.answered < p.sent
		p.mu.Unlock()
		if silent {
			return errors.New("broker does not answer pings")
		}
		if _, err := p.ping(); err != nil {
			return err
		}
	}
}

// ping sends one PINGREQ and returns how many answers prove that the broker has
// read it. The lock is not held while writing: that may block.
func (p *pinger) ping() (uint64, error) {
	p.mu.Lock()
	p.sent++
	n := p.sent
	p.mu.Unlock()
	if _, err := packets.NewControlPacket(packets.PINGREQ).WriteTo(p.conn); err != nil {
		return 0, fmt.Errorf("send ping: %w", err)
	}
	return n, nil
}

// barrier returns when the broker has read all that was sent before the call,
// or with ctx's cause.
func (p *pinger) barrier(ctx context.Context) error {
	n, err := p.ping()
	if err != nil {
		return err
	}
	for {
		p.mu.Lock()
		done, changed := p.answered >= n, p.changed
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// PingResp counts an answer.
func (p *pinger) PingResp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered++
	close(p.changed)
	p.changed = make(chan struct{})
}

// PacketSent does nothing: pings go out on a fixed beat.
func (p *pinger) PacketSent() {}

// PacketReceived does nothing, for the same reason.
func (p *pinger) PacketReceived() {}

// SetDebug does nothing: there is nothing to debug.
func (p *pinger) SetDebug(log.Logger) {}
