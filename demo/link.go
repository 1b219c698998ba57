package demo

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// answerWait bounds connecting, and each write.
const answerWait = 10 * time.Second

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

// open connects to the broker at address. A refusal is an error.
func open(ctx context.Context, address string, c *wire.Connect) (*link, wire.Connack, error) {
	conn, err := dial.Broker(ctx, address, answerWait)
	if err != nil {
		return nil, wire.Connack{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	l := &link{conn: conn, version: c.Version}
	ack, err := l.handshake(c)
	if err != nil {
		conn.Close()
		return nil, ack, fmt.Errorf("connect %s: %w", c.ClientID, err)
	}
	return l, ack, nil
}

func (l *link) handshake(c *wire.Connect) (ack wire.Connack, err error) {
	if err := l.write(wire.AppendConnect(nil, c)); err != nil {
		return ack, err
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(answerWait)) // that of a socket that is closed fails when it is read
	f, err := l.read()
	if err != nil {
		return ack, err
	}
	if f.Type != wire.CONNACK {
		return ack, fmt.Errorf("got %v instead of CONNACK", f.Type)
	}
	ack, err = wire.DecodeConnack(f, l.version)
	if err == nil && ack.Reason != wire.Success {
		err = fmt.Errorf("refused: %v", ack.Reason)
	}
	_ = l.conn.SetReadDeadline(time.Time{})
	return ack, err
}

func (l *link) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(answerWait)); err != nil {
		return err
	}
	_, err := l.conn.Write(b)
	return err
}

// read returns the next frame, which is valid until the next read. After an
// error that is a timeout it may be called again.
func (l *link) read() (wire.Frame, error) {
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
		k, err := l.conn.Read(l.scratch[:])
		l.in = append(l.in, l.scratch[:k]...)
		if k == 0 && err != nil {
			return f, err
		}
	}
}
