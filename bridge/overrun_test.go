package bridge

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// What comes from core NATS faster than it is taken in is lost, and each of it is
// counted; what waits meanwhile is bounded.
func TestOverrun(t *testing.T) {
	brokertest.NoLeaks(t)
	far, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	far.Start()
	defer far.WaitForShutdown()
	defer far.Shutdown()
	if !far.ReadyForConnections(brokertest.Patience) {
		t.Fatal("the NATS server does not come up")
	}
	r := newRig(t, func(c *Config) { c.Rules = Rules{{Direction: In, Filter: "#", QoS: 1}} })
	defer r.relay.Close()
	s := &natsSession{up: r.up, cfg: &NATS{}}
	s.ctx, s.end = context.WithCancel(t.Context())
	defer s.end()
	if s.nc, err = nats.Connect(far.ClientURL(), nats.ErrorHandler(s.trouble)); err != nil {
		t.Fatal(err)
	}
	defer s.nc.Close()
	in := &natsIn{s: s, open: map[uint16]func(wire.Reason){}, slots: make(chan struct{})} // so that nothing is ever taken
	if err := in.subscribe(""); err != nil {
		t.Fatal(err)
	}
	defer in.stop()
	source, err := nats.Connect(far.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	const tooMany = 1000
	for range waitingMessages + tooMany {
		if err := source.Publish("a", []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := source.Flush(); err != nil {
		t.Fatal(err)
	}
	sub, lost := in.subs[0], 0
	brokertest.WaitFor(t, "all messages to come", func() bool {
		waiting, _, err := sub.Pending()
		if err != nil {
			t.Fatal(err)
		}
		if lost, err = sub.Dropped(); err != nil {
			t.Fatal(err)
		}
		return waiting+lost >= waitingMessages+tooMany-1 // one is being taken in
	})
	if lost < tooMany-2 || lost > tooMany {
		t.Errorf("%d lost; want about %d", lost, tooMany)
	}
	if n := r.up.Status().Overrun; n != 0 {
		t.Errorf("%d counted before there was a chance to", n)
	}
	s.end() // nothing waits for a slot any more
	brokertest.WaitFor(t, "the lost ones to be counted", func() bool { return r.up.Status().Overrun == uint64(lost) })
	brokertest.WaitFor(t, "what waits to be gone through", func() bool { n, _, err := sub.Pending(); return err == nil && n == 0 })
	if n := r.up.Status().Overrun; n != uint64(lost) {
		t.Errorf("%d counted, %d lost", n, lost)
	}
}
