package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// replyWait bounds each step of a handshake; a broker that does not answer for
// so long is given up and tried anew.
const replyWait = 10 * time.Second

// link is one MQTT connection seen from the client. One goroutine reads; any
// may write.
type link struct {
	conn    net.Conn
	version wire.Version
	in      []byte
	used    int // bytes of in that belong to the frame given out last
	scratch [16 << 10]byte

	mu sync.Mutex // one write at a time
}

// open connects to the broker at address and performs the handshake; a refusal
// is an error.
func open(ctx context.Context, address string, c *wire.Connect) (*link, wire.Connack, error) {
	conn, err := dial.Broker(ctx, address, replyWait)
	if err != nil {
		return nil, wire.Connack{}, err
	}
	l := &link{conn: conn, version: c.Version}
	ack, err := l.handshake(c)
	if err != nil {
		conn.Close()
	}
	return l, ack, err
}

func (l *link) handshake(c *wire.Connect) (wire.Connack, error) {
	if err := l.write(wire.AppendConnect(nil, c)); err != nil {
		return wire.Connack{}, err
	}
	f, err := l.read(replyWait)
	if err != nil {
		return wire.Connack{}, err
	}
	if f.Type != wire.CONNACK {
		return wire.Connack{}, fmt.Errorf("got %v instead of CONNACK", f.Type)
	}
	ack, err := wire.DecodeConnack(f, l.version)
	if err == nil && ack.Reason != wire.Success {
		err = fmt.Errorf("refused: %v", ack.Reason)
	}
	return ack, err
}

// write sends b whole. A broker that takes nothing for replyWait has ended the
// connection.
func (l *link) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(replyWait)); err != nil {
		return err
	}
	_, err := l.conn.Write(b)
	return err
}

// read returns the next frame, which is valid until the next read. It waits at
// most wait for it.
func (l *link) read(wait time.Duration) (wire.Frame, error) {
	l.in = l.in[:copy(l.in, l.in[l.used:])]
	l.used = 0
	deadline := time.Time{}
	for {
		f, n, err := wire.Scan(l.in, 0)
		if err != nil {
			return f, fmt.Errorf("frame from the broker: %w", err)
		}
		if n > 0 {
			l.used = n
			return f, nil
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(wait)
			if err := l.conn.SetReadDeadline(deadline); err != nil {
				return f, err
			}
		}
		k, err := l.conn.Read(l.scratch[:])
		l.in = append(l.in, l.scratch[:k]...)
		if k == 0 && err != nil {
			return f, err
		}
	}
}

// waiting tells whether a whole frame has been received beyond the one given
// out last.
func (l *link) waiting() bool {
	_, n, err := wire.Scan(l.in[l.used:], 0)
	return n > 0 || err != nil
}

// goodbye sends DISCONNECT and closes; the session stays.
func (l *link) goodbye() {
	_ = l.write(wire.AppendDisconnect(nil, l.version, wire.Success, "")) // it may be gone
	l.conn.Close()
}
