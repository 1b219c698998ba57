package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/wire"
)

// start runs a relay until the test ends, and returns its address.
func start(t *testing.T) string {
	t.Helper()
	r, err := newRelay("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.serve() }()
	t.Cleanup(func() {
		r.stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r.address
}

// TestRelay drives the relay with the load that is used to measure it, which
// verifies that everything arrives once and in order.
func TestRelay(t *testing.T) {
	for _, o := range []bench.Options{
		{Scenario: bench.FanIn, Clients: 10, Count: 3000},
		{Scenario: bench.FanIn, Clients: 10, Count: 3000, QoS: 1},
		{Scenario: bench.Pairs, Clients: 10, Count: 3000},
		{Scenario: bench.Pairs, Clients: 10, Count: 3000, QoS: 1, Version: wire.V5},
		{Scenario: bench.FanOut, Clients: 20, Count: 3000},
		{Scenario: bench.FanOut, Clients: 20, Count: 3000, QoS: 1},
		{Scenario: bench.FanOut, Clients: 20, Count: 50, Payload: 200_000}, // more than one read, and more than a socket takes
		{Scenario: bench.Pairs, Clients: 3, Count: 100, Rate: 10_000, QoS: 1},
	} {
		t.Run(fmt.Sprintf("%s, QoS %d, %d bytes, version %v", o.Scenario, o.QoS, o.Payload, o.Version), func(t *testing.T) {
			o.Address = start(t)
			res, err := bench.Run(t.Context(), o)
			if err != nil || !res.Clean() {
				t.Fatalf("not clean: %+v, %v", res, err)
			}
			if want := o.Count * uint64(res.Subscribers); o.Scenario == bench.FanOut && res.Delivered != want {
				t.Errorf("delivered %d, want %d", res.Delivered, want)
			}
		})
	}
}

// client speaks to the relay byte by byte.
type client struct {
	net.Conn
	t *testing.T
}

func connect(t *testing.T, address string) client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	c := client{nc, t}
	c.send(wire.AppendConnect(nil, &wire.Connect{Version: wire.V311, CleanStart: true, ClientID: "c"}))
	c.expect([]byte{0x20, 2, 0, 0})
	return c
}

func (c client) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) expect(want []byte) {
	c.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		c.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		c.t.Fatalf("got % x, want % x", got, want)
	}
}

func (c client) subscribe(filter string) {
	c.t.Helper()
	c.send(wire.AppendSubscribe(nil, wire.V311, &wire.Subscribe{PacketID: 7, Filters: []wire.Filter{{Filter: filter, QoS: 1}}}))
	c.expect([]byte{0x90, 3, 0, 7, 1})
}

func publish(topic, payload string, id uint16) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: wire.V311, QoS: 1, Topic: []byte(topic), Payload: []byte(payload)}, id)
}

// TestRelayTornFrames has two publishers send half frames by turns: what the
// subscriber gets is whole ones.
func TestRelayTornFrames(t *testing.T) {
	address := start(t)
	sub, other := connect(t, address), connect(t, address)
	sub.subscribe("a/+")
	other.subscribe("a/2")
	one, two := connect(t, address), connect(t, address)
	first, second := publish("a/1", "one", 1), publish("a/2", "two", 2)
	for cut := 1; cut < len(first); cut++ {
		one.send(first[:cut])
		two.send(second[:cut])
		two.send(second[cut:])
		two.expect([]byte{0x40, 2, 0, 2})
		one.send(first[cut:])
		one.expect([]byte{0x40, 2, 0, 1})
		sub.expect(second)
		sub.expect(first)
		other.expect(second)
	}
	sub.send([]byte{0xc0, 0})
	sub.expect([]byte{0xd0, 0})
}

// TestRelayHangsUp has it end what it does not do, and nobody else.
func TestRelayHangsUp(t *testing.T) {
	address := start(t)
	sub := connect(t, address)
	sub.subscribe("#")
	for name, bad := range map[string][]byte{
		"QoS 2":          wire.AppendPublish(nil, &wire.Out{Version: wire.V311, QoS: 2, Topic: []byte("a")}, 1),
		"UNSUBSCRIBE":    {0xa2, 5, 0, 1, 0, 1, 'a'},
		"second CONNECT": wire.AppendConnect(nil, &wire.Connect{Version: wire.V311, CleanStart: true, ClientID: "c"}),
		"no packet":      {0x00, 0},
		"bad SUBSCRIBE":  {0x82, 2, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, address)
			c.send(bad)
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("answered %s instead of hanging up", name)
			}
		})
	}
	pub := connect(t, address)
	pub.send(publish("b", "x", 3))
	pub.expect([]byte{0x40, 2, 0, 3})
	sub.expect(publish("b", "x", 3))
}

// TestRelayAddress has it say what is wrong with its argument.
func TestRelayAddress(t *testing.T) {
	for _, args := range [][]string{nil, {"a", "b"}, {"127.0.0.1:no"}} {
		if err := run(args); err == nil {
			t.Errorf("accepts %q", args)
		}
	}
}
