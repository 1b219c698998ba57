package e2e_test

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// A subscriber that reads nothing, without keep alive and with a tiny receive
// buffer, on every topic: ten pairs complete their load all the same, memory
// stays bounded, and what the stalled one misses is counted under its name.
func TestStalledSubscriberHurtsItselfOnly(t *testing.T) {
	const pairs, n, size, outbound = 10, 1000, 2048, 256 << 10
	b := start(t, func(c *appliance.Config) {
		c.Limits.MaxOutboundBytes = outbound
		c.Sessions.MaxQueuedBytes = 1 << 20
	})
	drops := b.watch("drop")
	for qos := range byte(2) {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			id := fmt.Sprint("stalled", qos)
			stalled := stall(t, b, id, qos)
			topic := func(i int) string { return fmt.Sprintf("pair/%d/%d", qos, i) }
			stalled.Subscribe(qos, fmt.Sprintf("pair/%d/#", qos), "own")
			before := heap()

			payload := bytes.Repeat([]byte("x"), size)
			errs := make(chan error, 2*pairs)
			var group sync.WaitGroup
			for i := range pairs {
				sub := dialRaw(t, b, fmt.Sprint("sub", i), wire.V5)
				sub.subscribe(t, topic(i), qos)
				pub := dialRaw(t, b, fmt.Sprint("pub", i), wire.V311)
				window := make(chan struct{}, 32) // messages under way: far less than a healthy client is allowed
				group.Go(func() { errs <- sub.takeIn(n, size, window) })
				group.Go(func() { errs <- pub.flood(topic(i), payload, qos, n, window) })
			}
			group.Wait()
			for range 2 * pairs {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			// Of pairs*n*size = 20 MB each pair had all; the stalled one has at
			// most what its queue and its socket hold.
			if after := heap(); after > before+16<<20 {
				t.Errorf("heap grew from %d to %d KB", before>>10, after>>10)
			}
			brokertest.WaitFor(t, "every message to be sent, queued or dropped", func() bool {
				c := mustClient(t, b, id)
				return c.Sent.Messages+c.Dropped+uint64(c.Queued.Messages) == pairs*n
			})
			c := mustClient(t, b, id)
			if !c.Connected || c.Dropped == 0 {
				t.Errorf("the stalled client: connected %v, %d dropped", c.Connected, c.Dropped)
			}
			want := map[byte]string{0: "slow_consumer", 1: "queue_full"}[qos]
			counted := func() (sum uint64) {
				for _, e := range drops.all() {
					if d := dropData(e); d.ClientID == id {
						sum += d.Count
						if d.Reason != want || e.Source != id || d.QoS != qos {
							t.Fatalf("drop event %+v", d)
						}
					}
				}
				return sum
			}
			brokertest.WaitFor(t, "every drop to be reported", func() bool { return counted() >= c.Dropped })
			if counted() != c.Dropped || b.Stats().Dropped.ByReason[want] != c.Dropped {
				t.Errorf("%d drops in events, %d in the client's counter, %v in all", counted(), c.Dropped, b.Stats().Dropped)
			}
			for _, e := range drops.all() {
				if d := dropData(e); d.ClientID != id && d.ClientID != "" && d.ClientID != "stalled0" {
					t.Errorf("a healthy client has lost messages: %+v", d)
				}
			}
			b.Kick(id)
			awaitGone(t, b, id)
		})
	}
}

// stall connects a client whose socket takes next to nothing.
func stall(t testing.TB, b *broker, id string, qos byte) *brokertest.Client {
	t.Helper()
	con := brokertest.Clean(wire.V5, id)
	con.ReceiveMaximum = 65535
	c := brokertest.Dial(t, b.addr, con)
	if err := c.Conn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	return c
}

// heap is the memory of live objects.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rawClient is a client without helpers, for goroutines of its own.
type rawClient struct {
	nc      net.Conn
	version wire.Version
	buf     []byte
	at      int // of the unread part of buf
}

// dialRaw connects a clean session.
func dialRaw(t testing.TB, b *broker, id string, v wire.Version) *rawClient {
	t.Helper()
	c := brokertest.Dial(t, b.addr, brokertest.Clean(v, id))
	if err := c.Conn().SetDeadline(time.Now().Add(2 * brokertest.Patience)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{nc: c.Conn(), version: v}
}

func (p *rawClient) subscribe(t testing.TB, filter string, qos byte) {
	t.Helper()
	s := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: filter, QoS: qos}}}
	if _, err := p.nc.Write(wire.AppendSubscribe(nil, p.version, &s)); err != nil {
		t.Fatal(err)
	}
	if f, err := p.next(); err != nil || f.Type != wire.SUBACK {
		t.Fatalf("SUBACK: %v, %v", f.Type, err)
	}
}

// next reads a frame, which is valid until the call after.
func (p *rawClient) next() (wire.Frame, error) {
	for {
		f, n, err := wire.Scan(p.buf[p.at:], 0)
		if err != nil {
			return f, err
		}
		if n > 0 {
			p.at += n
			return f, nil
		}
		p.buf = p.buf[:copy(p.buf, p.buf[p.at:])]
		p.at = 0
		room := len(p.buf)
		p.buf = append(p.buf, make([]byte, 16<<10)...)
		k, err := p.nc.Read(p.buf[room:])
		p.buf = p.buf[:room+k]
		if err != nil {
			return f, err
		}
	}
}

// takeIn reads n messages and acknowledges them. Each takes one out of window.
func (p *rawClient) takeIn(n, size int, window <-chan struct{}) error {
	defer p.nc.Close()
	for i := range n {
		f, err := p.next()
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", i, n, err)
		}
		d, err := wire.DecodeDelivery(f, p.version)
		if err != nil || len(d.Payload) != size {
			return fmt.Errorf("message %d has %d bytes: %w", i, len(d.Payload), err)
		}
		<-window
		if d.QoS == 1 {
			if _, err := p.nc.Write(wire.AppendAck(nil, wire.PUBACK, p.version, d.PacketID, wire.Success)); err != nil {
				return err
			}
		}
	}
	return nil
}

// flood publishes n messages, at QoS 1 each after the acknowledgement of the
// one before. Each puts one into window first.
func (p *rawClient) flood(topic string, payload []byte, qos byte, n int, window chan<- struct{}) error {
	defer p.nc.Close()
	for i := range n {
		select {
		case window <- struct{}{}:
		case <-time.After(brokertest.Patience):
			return fmt.Errorf("nobody takes message %d of %d", i, n)
		}
		o := wire.Out{Version: p.version, QoS: qos, Topic: []byte(topic), Payload: payload}
		if _, err := p.nc.Write(wire.AppendPublish(nil, &o, 1)); err != nil {
			return fmt.Errorf("publish %d of %d: %w", i, n, err)
		}
		if qos == 0 {
			continue
		}
		if f, err := p.next(); err != nil || f.Type != wire.PUBACK {
			return fmt.Errorf("acknowledgement %d of %d: %v, %w", i, n, f.Type, err)
		}
	}
	return nil
}
