// Package link is an MQTT connection as its client sees it, in whole packets. It is
// for those of our own clients that say and answer each packet themselves: demo, and
// the programs that put brokers to the test. Nothing is sent but what is given to
// Write, and the CONNECT of Open.
package link

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// Link is one connection. One goroutine reads; any may write, or close Conn, which
// ends what the others wait for.
type Link struct {
	Conn    net.Conn
	Version wire.Version

	wait    time.Duration // for each write
	in      []byte
	used    int // bytes of in that belong to the frame given out last
	scratch [16 << 10]byte

	writing sync.Mutex // one write at a time
}

// New speaks version v over conn. A peer that takes nothing of a write for wait has
// ended the connection.
func New(conn net.Conn, v wire.Version, wait time.Duration) *Link {
	return &Link{Conn: conn, Version: v, wait: wait}
}

// Open connects to the broker at address, which is one that dial.Broker knows, and
// is let in as c says; a refusal is an error. It waits at most wait for each step,
// and gives up when ctx ends; later the link is no longer bound to ctx.
func Open(ctx context.Context, address string, c *wire.Connect, wait time.Duration) (*Link, wire.Connack, error) {
	conn, err := dial.Broker(ctx, address, wait)
	if err != nil {
		return nil, wire.Connack{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	l := New(conn, c.Version, wait)
	ack, err := l.handshake(c)
	if err != nil {
		conn.Close()
		return nil, ack, fmt.Errorf("connect %s: %w", c.ClientID, err)
	}
	return l, ack, nil
}

func (l *Link) handshake(c *wire.Connect) (ack wire.Connack, err error) {
	if err := l.Write(wire.AppendConnect(nil, c)); err != nil {
		return ack, err
	}
	f, err := l.ReadWithin(l.wait)
	if err != nil {
		return ack, err
	}
	if f.Type != wire.CONNACK {
		return ack, fmt.Errorf("got %v instead of CONNACK", f.Type)
	}
	ack, err = wire.DecodeConnack(f, l.Version)
	if err == nil && ack.Reason != wire.Success {
		err = fmt.Errorf("refused: %v", ack.Reason)
	}
	_ = l.Conn.SetReadDeadline(time.Time{}) // that of a socket that is closed fails when it is read
	return ack, err
}

// Write sends b, which is whole packets, or nothing.
func (l *Link) Write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.Conn.SetWriteDeadline(time.Now().Add(l.wait)); err != nil {
		return err
	}
	_, err := l.Conn.Write(b)
	return err
}

// Read returns the next frame, which is valid until the next read. It waits as long
// as the read deadline of Conn lets it. After an error that is a timeout it may be
// called again.
func (l *Link) Read() (wire.Frame, error) {
	l.in = l.in[:copy(l.in, l.in[l.used:])]
	l.used = 0
	for {
		f, n, err := wire.Scan(l.in, 0)
		if err != nil {
			return f, fmt.Errorf("frame from the broker: %w", err)
		}
		if n > 0 {
			l.used = n
			return f, nil
		}
		k, err := l.Conn.Read(l.scratch[:])
		l.in = append(l.in, l.scratch[:k]...)
		if k == 0 && err != nil {
			return f, err
		}
	}
}

// ReadWithin is Read with a new read deadline, unless a frame is there already. The
// deadline stays.
func (l *Link) ReadWithin(wait time.Duration) (wire.Frame, error) {
	if !l.Waiting() {
		if err := l.Conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return wire.Frame{}, err
		}
	}
	return l.Read()
}

// Waiting tells whether a whole frame has been received beyond the one given out
// last. It belongs to the goroutine that reads.
func (l *Link) Waiting() bool {
	_, n, err := wire.Scan(l.in[l.used:], 0)
	return n > 0 || err != nil
}

// Goodbye sends DISCONNECT and closes; a session that is kept stays.
func (l *Link) Goodbye() {
	_ = l.Write(wire.AppendDisconnect(nil, l.Version, wire.Success, "")) // it may be gone
	l.Conn.Close()
}
