package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

const (
	version   = wire.V311
	patience  = 20 * time.Second // for each answer
	keepAlive = 60               // seconds
	workers   = 64               // clients that do something at a time
	perSource = 20_000           // connections from one loopback address, of which each has its own ports
)

// link is one client's connection, nil if it has none. It is not that of
// internal/link, which has 16 KiB to read into: there are very many of them.
type link struct{ conn net.Conn }

// crowd is all clients.
type crowd struct {
	ctx     context.Context
	address string
	links   []link
	kept    bool
	retain  bool

	mu    sync.Mutex // guards what follows
	wrong []string
}

// each does something with all clients, many at a time, until one fails.
func (c *crowd) each(do func(i int, l *link) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, workers)
	for w := range errs {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(c.links); i = int(next.Add(1)) - 1 {
				err := c.ctx.Err()
				if err == nil {
					err = do(i, &c.links[i])
				}
				if err != nil {
					errs[w] = fmt.Errorf("client %d: %w", i, err)
					next.Store(int64(len(c.links)))
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func topic(i int) string { return fmt.Sprintf("many/%05d", i) }

func (c *crowd) connect() error {
	return c.each(func(i int, l *link) error {
		conn, err := c.dial(i)
		if err != nil {
			return err
		}
		l.conn = conn
		con := wire.Connect{Version: version, CleanStart: !c.kept, ClientID: fmt.Sprintf("many-%05d", i), KeepAlive: keepAlive}
		f, err := l.ask(wire.AppendConnect(nil, &con))
		if err == nil && (f.Type != wire.CONNACK || len(f.Body) < 2 || f.Body[1] != 0) {
			err = fmt.Errorf("not let in: %v %x", f.Type, f.Body)
		}
		return err
	})
}

// dial connects from a loopback address that has ports left, if the broker is at
// one.
func (c *crowd) dial(i int) (net.Conn, error) {
	at, err := netip.ParseAddrPort(c.address)
	if i < perSource || err != nil || !at.Addr().IsLoopback() {
		return dial.Broker(c.ctx, c.address, patience)
	}
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/perSource))}
	return (&net.Dialer{LocalAddr: from, Timeout: patience}).DialContext(c.ctx, "tcp", c.address)
}

func (c *crowd) subscribe() error {
	return c.each(func(i int, l *link) error {
		s := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: topic(i), QoS: 1}}}
		return l.expect(wire.AppendSubscribe(nil, version, &s), wire.SUBACK)
	})
}

// deliver has each client publish at QoS 1 for itself, and checks what comes.
func (c *crowd) deliver() error {
	return c.each(func(i int, l *link) error {
		o := wire.Out{Version: version, QoS: 1, Retain: c.retain, Topic: []byte(topic(i)), Payload: []byte(topic(i))}
		if err := l.write(wire.AppendPublish(nil, &o, 7)); err != nil {
			return err
		}
		acked, got := 0, 0
		for acked+got < 2 {
			f, err := l.read()
			if err != nil {
				return err
			}
			switch f.Type {
			case wire.PUBACK:
				acked++
			case wire.PUBLISH:
				p, err := wire.DecodePublish(f, version)
				if err != nil {
					return err
				}
				if string(p.Topic) != topic(i) || string(p.Payload) != topic(i) {
					c.fault("client %d got %q on %q", i, p.Payload, p.Topic)
				}
				got++
				if err := l.write(wire.AppendAck(nil, wire.PUBACK, version, p.PacketID, wire.Success)); err != nil {
					return err
				}
			default:
				return fmt.Errorf("got %v", f.Type)
			}
		}
		if acked != 1 || got != 1 {
			c.fault("client %d got %d acknowledgements and %d messages, of one each", i, acked, got)
		}
		return nil
	})
}

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) < 10 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

// idle waits for d, and keeps the clients alive in a long one.
func (c *crowd) idle(d time.Duration) error {
	end := time.Now().Add(d)
	for left := d; left > 0; left = time.Until(end) {
		wait := time.NewTimer(min(left, keepAlive/2*time.Second))
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
			return c.ctx.Err()
		}
		if left > keepAlive/2*time.Second {
			if err := c.ping(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ping makes sure that all are still served, and have been sent nothing else.
func (c *crowd) ping() error {
	return c.each(func(_ int, l *link) error { return l.expect(wire.AppendPing(nil, wire.PINGREQ), wire.PINGRESP) })
}

// leave says good-bye for all.
func (c *crowd) leave() {
	_ = c.each(func(_ int, l *link) error {
		_ = l.write(wire.AppendDisconnect(nil, version, wire.Success, "")) // who is gone has left
		return nil
	})
	c.close()
}

func (c *crowd) close() {
	for i := range c.links {
		if conn := c.links[i].conn; conn != nil {
			_ = conn.Close()
			c.links[i].conn = nil
		}
	}
}

func (l *link) write(b []byte) error {
	_, err := l.conn.Write(b)
	return err
}

// read returns the next frame, a short one.
func (l *link) read() (wire.Frame, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return wire.Frame{}, err
	}
	var b []byte
	for {
		f, n, err := wire.Scan(b, 0)
		if n > 0 || err != nil {
			return f, err
		}
		need := 1 // byte by byte up to its length: what follows is the next frame's
		if size, ok := wire.FrameSize(b); ok {
			need = size - len(b)
		}
		piece := make([]byte, need)
		k, err := l.conn.Read(piece)
		b = append(b, piece[:k]...)
		if k == 0 && err != nil {
			return wire.Frame{}, err
		}
	}
}

func (l *link) ask(b []byte) (wire.Frame, error) {
	if err := l.write(b); err != nil {
		return wire.Frame{}, err
	}
	return l.read()
}

func (l *link) expect(b []byte, want wire.Type) error {
	f, err := l.ask(b)
	if err == nil && f.Type != want {
		err = fmt.Errorf("got %v instead of %v", f.Type, want)
	}
	return err
}
