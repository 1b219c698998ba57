package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// replyWait bounds connecting, and each write of a healthy client.
const replyWait = 20 * time.Second

// link is one MQTT 5 connection seen from the client. One goroutine reads.
type link struct {
	conn net.Conn
	in   []byte
	used int
}

// connect makes a connection that is let in. It keeps a session for expiry
// seconds.
func connect(ctx context.Context, address, id string, expiry uint32) (*link, error) {
	conn, err := dial.Broker(ctx, address, replyWait)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn}
	hello := wire.AppendConnect(nil, &wire.Connect{Version: wire.V5, CleanStart: true, ClientID: id, SessionExpiry: expiry, KeepAlive: healthyAlive})
	if err := l.write(hello); err == nil {
		_ = conn.SetReadDeadline(time.Now().Add(replyWait))
		f, err := l.read()
		_ = conn.SetReadDeadline(time.Time{})
		if err == nil && f.Type == wire.CONNACK && f.Body[1] == 0 {
			return l, nil
		}
	}
	conn.Close()
	return nil, fmt.Errorf("%s was not let in", id)
}

func (l *link) subscribe(filter string, qos byte) error {
	s := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: filter, QoS: qos}}}
	return l.write(wire.AppendSubscribe(nil, wire.V5, &s))
}

func (l *link) write(b []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(replyWait)); err != nil {
		return err
	}
	_, err := l.conn.Write(b)
	return err
}

// read returns the next frame, which is valid until the next read.
func (l *link) read() (wire.Frame, error) {
	l.in = l.in[:copy(l.in, l.in[l.used:])]
	l.used = 0
	var scratch [4 << 10]byte
	for {
		f, n, err := wire.Scan(l.in, 0)
		if err != nil || n > 0 {
			l.used = n
			return f, err
		}
		k, err := l.conn.Read(scratch[:])
		l.in = append(l.in, scratch[:k]...)
		if k == 0 && err != nil {
			return f, err
		}
	}
}
