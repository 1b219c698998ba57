package e2e_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// pairs are publishers, each with a subscriber, that send numbers without a
// pause and never connect twice. Each subscriber must get all numbers, once, in
// their order.
type pairs struct {
	list []*pair
	stop chan struct{} // closed when publishers are to end
	done sync.WaitGroup

	mu   sync.Mutex // guards what follows
	errs []error
}

type pair struct {
	qos      byte
	version  wire.Version
	pub, sub net.Conn
	got      atomic.Uint64 // numbers that the subscriber has got
	sent     atomic.Uint64
	gap      atomic.Int64 // longest time between a number and its acknowledgement, in nanoseconds
}

func startPairs(t *testing.T, addr string, n int) *pairs {
	t.Helper()
	f := &pairs{stop: make(chan struct{})}
	run := time.Now().UnixNano() // a broker may know those of an earlier one
	for i := range n {
		p := &pair{qos: byte(i % 3), version: []wire.Version{wire.V311, wire.V5}[i/3%2]}
		for _, role := range []string{"pub", "sub"} {
			con := brokertest.Clean(p.version, fmt.Sprintf("%s-%d-%x", role, i, run))
			if i%4 == 3 {
				con = brokertest.Kept(p.version, con.ClientID)
			}
			con.TopicAliasMaximum = uint16(4 * (i % 2))
			con.KeepAlive = 60
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := c.Write(wire.AppendConnect(nil, &con)); err != nil {
				t.Fatal(err)
			}
			if ack, err := newFrames(c).next(); err != nil || ack.Type != wire.CONNACK {
				t.Fatalf("%v, %v", ack.Type, err)
			}
			if role == "pub" {
				p.pub = c
				continue
			}
			p.sub = c
			s := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: fmt.Sprintf("pair/number/%d", i), QoS: 2}}}
			if _, err := c.Write(wire.AppendSubscribe(nil, p.version, &s)); err != nil {
				t.Fatal(err)
			}
			if ack, err := newFrames(c).next(); err != nil || ack.Type != wire.SUBACK {
				t.Fatalf("%v, %v", ack.Type, err)
			}
		}
		f.list = append(f.list, p)
	}
	for i, p := range f.list {
		f.done.Go(func() { f.note(i, "publisher", p.publish(i, f.stop)) })
		f.done.Go(func() { f.note(i, "subscriber", p.subscribe()) })
	}
	t.Cleanup(func() { f.end(); f.done.Wait() })
	return f
}

func (f *pairs) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
}

func (f *pairs) note(i int, who string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, fmt.Errorf("%s %d (qos %d, %v): %w", who, i, f.list[i].qos, f.list[i].version, err))
}

func (f *pairs) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.errs...)
}

// await waits until every subscriber has got n numbers more.
func (f *pairs) await(t *testing.T, n uint64) {
	t.Helper()
	var want []uint64
	for _, p := range f.list {
		want = append(want, p.got.Load()+n)
	}
	brokertest.WaitFor(t, "numbers to come", func() bool {
		if err := f.failed(); err != nil {
			t.Fatal(err)
		}
		for i, p := range f.list {
			if p.got.Load() < want[i] {
				return false
			}
		}
		return true
	})
}

// finish ends the publishers and requires that everything has come.
func (f *pairs) finish(t *testing.T) {
	t.Helper()
	f.end()
	brokertest.WaitFor(t, "all numbers to come", func() bool {
		if err := f.failed(); err != nil {
			t.Fatal(err)
		}
		for _, p := range f.list {
			if p.got.Load() != p.sent.Load() {
				return false
			}
		}
		return true
	})
	for _, p := range f.list { // the subscribers end with that
		_ = p.sub.SetReadDeadline(time.Unix(1, 0))
	}
	f.done.Wait()
	if err := f.failed(); err != nil {
		t.Error(err)
	}
}

// longest is the longest time that a publisher has waited for an acknowledgement.
func (f *pairs) longest() (d time.Duration) {
	for _, p := range f.list {
		d = max(d, time.Duration(p.gap.Load()))
	}
	return d
}

// publish sends numbers from 1 on, each when the one before has been acknowledged
// (at QoS 0: when a ping has been answered every 16th time), until stop is closed.
func (p *pair) publish(i int, stop <-chan struct{}) error {
	in := newFrames(p.pub)
	var pace <-chan time.Time
	if d, err := time.ParseDuration(os.Getenv("EDGEBROKER_HANDOVER_PACE")); err == nil && d > 0 {
		tick := time.NewTicker(d)
		defer tick.Stop()
		pace = tick.C
	}
	topic := []byte(fmt.Sprintf("pair/number/%d", i))
	for n := uint64(1); ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if pace != nil {
			<-pace
		}
		began, id := time.Now(), uint16(n%60000+1)
		o := wire.Out{Version: p.version, QoS: p.qos, Topic: topic, Payload: append(binary.BigEndian.AppendUint64(nil, n), strings.Repeat("x", int(n%700))...)}
		if p.version == wire.V5 && i%2 == 1 {
			if o.Alias = 3; n > 1 {
				o.Topic = nil
			}
		}
		p.sent.Store(n)
		if _, err := p.pub.Write(wire.AppendPublish(nil, &o, id)); err != nil {
			return err
		}
		want := []wire.Type{wire.PUBACK}
		switch {
		case p.qos == 0 && n%16 == 0:
			want = []wire.Type{wire.PINGRESP}
			if _, err := p.pub.Write(wire.AppendPing(nil, wire.PINGREQ)); err != nil {
				return err
			}
		case p.qos == 0:
			continue
		case p.qos == 2:
			want = []wire.Type{wire.PUBREC, wire.PUBCOMP}
		}
		for _, typ := range want {
			f, err := in.next()
			if err != nil {
				return fmt.Errorf("number %d, await %v: %w", n, typ, err)
			}
			if f.Type != typ {
				return fmt.Errorf("number %d: %v (% x) instead of %v", n, f.Type, f.Raw, typ)
			}
			if typ == wire.PUBREC {
				if _, err := p.pub.Write(wire.AppendAck(nil, wire.PUBREL, p.version, id, wire.Success)); err != nil {
					return err
				}
			}
		}
		p.gap.Store(max(p.gap.Load(), int64(time.Since(began))))
	}
}

// subscribe checks what comes until its connection's deadline passes.
func (p *pair) subscribe() error {
	in := newFrames(p.sub)
	for next := uint64(1); ; {
		f, err := in.next()
		if t := net.Error(nil); errors.As(err, &t) && t.Timeout() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d: %w", next-1, err)
		}
		var answer []byte
		switch f.Type {
		case wire.PUBREL:
			id, _, err := wire.DecodeAck(f, p.version)
			if err != nil {
				return err
			}
			answer = wire.AppendAck(nil, wire.PUBCOMP, p.version, id, wire.Success)
		case wire.PUBLISH:
			d, err := wire.DecodeDelivery(f, p.version)
			if err != nil {
				return err
			}
			if n := binary.BigEndian.Uint64(d.Payload); n != next || d.Dup {
				return fmt.Errorf("number %d (DUP %v) instead of %d", n, d.Dup, next)
			}
			next++
			p.got.Add(1)
			switch d.QoS {
			case 1:
				answer = wire.AppendAck(nil, wire.PUBACK, p.version, d.PacketID, wire.Success)
			case 2:
				answer = wire.AppendAck(nil, wire.PUBREC, p.version, d.PacketID, wire.Success)
			}
		default:
			return fmt.Errorf("%v after %d", f.Type, next-1)
		}
		if _, err := p.sub.Write(answer); err != nil {
			return err
		}
	}
}

// frames splits what comes from a connection.
type frames struct {
	conn net.Conn
	buf  []byte
	used int
}

func newFrames(c net.Conn) *frames { return &frames{conn: c} }

func (f *frames) next() (wire.Frame, error) {
	f.buf = f.buf[f.used:]
	f.used = 0
	for {
		frame, n, err := wire.Scan(f.buf, 0)
		if err != nil || n > 0 {
			f.used = n
			return frame, err
		}
		p := make([]byte, 4096)
		k, err := f.conn.Read(p)
		if err != nil {
			return wire.Frame{}, err
		}
		f.buf = append(f.buf, p[:k]...)
	}
}
