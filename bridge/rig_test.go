package bridge

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// rig is an uplink to a far side in the same process, in a bubble of time.
type rig struct {
	t     tb
	relay *relay.Relay
	up    *Uplink
	v     wire.Version

	delay   func(wire.Frame) time.Duration              // of an answer, besides; may be nil
	latency time.Duration                               // each way
	life    func() time.Duration                        // of a connection; 0: for ever
	answer  func(conn int, f wire.Frame) ([]byte, bool) // false: hang up; nil: as a good broker
	connack wire.Connack

	running sync.WaitGroup

	mu    sync.Mutex
	conns int
	got   []string // payloads of what was taken, in order
	topic []string // where canaries went
}

type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// newRig makes an uplink that passes everything out, and does not start it.
func newRig(t tb, change func(*Config)) *rig {
	r := &rig{t: t}
	r.relay = relay.New(relay.DefaultConfig(), nil, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler))
	cfg := Config{Name: "up", URL: "mqtt://far", ClientID: "gateway", Dial: r.dial, Rules: Rules{{Direction: Out, Filter: "#", QoS: 2}},
		KeepAlive: 30 * time.Second, SessionExpiry: time.Hour, AckTimeout: 30 * time.Second, Backoff: DefaultBackoff()}
	if change != nil {
		change(&cfg)
	}
	ups, err := New([]Config{cfg}, r.relay, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%v", err)
	}
	r.up, r.v = ups[0], cfg.version()
	return r
}

func (r *rig) dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	r.mu.Lock()
	r.conns++
	n := r.conns
	r.mu.Unlock()
	r.locked(func() {
		if r.life == nil {
			return
		}
		if d := r.life(); d > 0 {
			time.AfterFunc(d, func() { _ = far.Close() })
		}
	})
	r.running.Go(func() { r.serve(far, n) })
	return near, nil
}

// serve is one connection. It reads as soon as something comes, and answers
// after a round trip.
func (r *rig) serve(nc net.Conn, conn int) {
	defer nc.Close()
	type due struct {
		at time.Time
		b  []byte
	}
	replies := make(chan due, 1000)
	var writer sync.WaitGroup
	writer.Go(func() {
		defer nc.Close()
		for d := range replies {
			if wait := time.Until(d.at); wait > 0 {
				<-time.After(wait)
			}
			if d.b == nil {
				return
			}
			if _, err := nc.Write(d.b); err != nil {
				return
			}
		}
	})
	defer writer.Wait()
	defer close(replies)
	in := bufio.NewReader(nc)
	for {
		f, err := nextFrame(in)
		if err != nil {
			return
		}
		b, goOn := r.reply(conn, f)
		if !goOn {
			b = nil
		} else if len(b) == 0 {
			continue
		}
		at := time.Now().Add(2 * r.latency)
		r.locked(func() {
			if r.delay != nil {
				at = at.Add(r.delay(f))
			}
		})
		select {
		case replies <- due{at, b}:
		default:
			r.t.Errorf("the far side is too slow for the test")
		}
		if !goOn {
			for err == nil { // what is behind it is not looked at any more
				_, err = nextFrame(in)
			}
			return
		}
	}
}

func nextFrame(in *bufio.Reader) (wire.Frame, error) {
	var raw []byte
	for {
		b, err := in.ReadByte()
		if err != nil {
			return wire.Frame{}, err
		}
		raw = append(raw, b)
		if f, n, err := wire.Scan(raw, 0); err != nil || n > 0 {
			return f, err
		}
	}
}

func (r *rig) reply(conn int, f wire.Frame) ([]byte, bool) {
	r.mu.Lock()
	answer := r.answer
	if answer == nil {
		answer = func(int, wire.Frame) ([]byte, bool) { return nil, true }
	}
	b, goOn := answer(conn, f)
	r.mu.Unlock()
	if b != nil || !goOn {
		return b, goOn
	}
	switch f.Type {
	case wire.CONNECT:
		return wire.AppendConnack(nil, r.v, &r.connack), true
	case wire.SUBSCRIBE:
		s, err := wire.DecodeSubscribe(f, r.v)
		return wire.AppendSuback(nil, r.v, s.PacketID, make([]wire.Reason, len(s.Filters))), err == nil
	case wire.PUBLISH:
		p, err := wire.DecodePublish(f, r.v)
		if err != nil {
			r.t.Errorf("the uplink sends %x: %v", f.Raw, err)
			return nil, false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if strings.Contains(string(p.Topic), "canary") {
			r.topic = append(r.topic, string(p.Topic))
		} else {
			r.got = append(r.got, string(p.Payload))
		}
		switch p.QoS {
		case 1:
			return wire.AppendAck(nil, wire.PUBACK, r.v, p.PacketID, 0), true
		case 2:
			return wire.AppendAck(nil, wire.PUBREC, r.v, p.PacketID, 0), true
		}
	case wire.PUBREL:
		id, _, _ := wire.DecodeAck(f, r.v)
		return wire.AppendAck(nil, wire.PUBCOMP, r.v, id, 0), true
	case wire.PINGREQ:
		return wire.AppendPing(nil, wire.PINGRESP), true
	case wire.DISCONNECT:
		return nil, false
	}
	return nil, true
}

// locked changes what answer, delay and life look at, or themselves.
func (r *rig) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// stop ends all that there is.
func (r *rig) stop() {
	r.up.Stop()
	r.running.Wait()
}

// publish publishes in the broker.
func (r *rig) publish(topic, payload string, qos byte) {
	r.t.Helper()
	if err := r.relay.Publish(relay.Outgoing{Topic: topic, Payload: []byte(payload), QoS: qos}, nil); err != nil {
		r.t.Fatalf("%v", err)
	}
}

// after lets time pass.
func (r *rig) after(d time.Duration) Status {
	<-time.After(d)
	synctest.Wait()
	return r.up.Status()
}

// once is what the far side has got, without what came again.
func (r *rig) once() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, p := range r.got {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return strings.Join(list, " ")
}

func (r *rig) canaries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.topic)
}

func upTo(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return strings.Join(list, " ")
}
