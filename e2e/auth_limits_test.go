package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// A client has limits.connect_timeout for everything up to CONNACK, whatever
// it or the method does with the time.
func TestAuthenticationTimeout(t *testing.T) {
	m := newObedient()
	b := start(t, func(c *appliance.Config) { c.Limits.ConnectTimeout = 200 * time.Millisecond }, appliance.WithAuthMethod(m))
	refusals := b.watch("refusal")
	late := 0
	for name, then := range map[string]func(c *brokertest.Client){
		"says nothing":        func(*brokertest.Client) {},
		"half an AUTH":        func(c *brokertest.Client) { c.Send(authFrame(wire.ContinueAuthentication, "done:ann")[:9]) },
		"a method that hangs": func(c *brokertest.Client) { c.Send(authFrame(wire.ContinueAuthentication, "hang")) },
	} {
		c := begin(t, b.addr, obeys("c", "ask:x"))
		asked(t, c, "x")
		then(c)
		turnedAway(t, c, wire.NotAuthorized)
		late++
		if e := refusals.await(t, late)[late-1]; refusalReason(e) != "slow_connect" {
			t.Errorf("%s: %+v", name, e.Data)
		}
	}
	if err := receive(t, "the end of the step", m.hung); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the step ended with %v", err)
	}
	// Going round and round does not help.
	c := begin(t, b.addr, obeys("c", "ask:x"))
	for {
		f := c.ReadFrame()
		if f.Type == wire.CONNACK {
			if ack, err := wire.DecodeConnack(f, wire.V5); err != nil || ack.Reason != wire.NotAuthorized {
				t.Errorf("CONNACK is %+v, %v", ack, err)
			}
			break
		}
		if _, err := c.Conn().Write(authFrame(wire.ContinueAuthentication, "ask:x")); err != nil {
			break // too late
		}
	}
	c.ExpectClosed()
	// Who is in stays in: only a step of a re-authentication is timed.
	c = begin(t, b.addr, obeys("c", "done:ann"))
	letIn(t, c)
	c.Send(authFrame(wire.ReAuthenticate, "hang"))
	if got := c.ExpectDisconnect(); got != wire.NotAuthorized { // the step came to an end as another user, ""
		t.Errorf("disconnected with %v", got)
	}
	if err := receive(t, "the end of the step", m.hung); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the step ended with %v", err)
	}
}

// A method that thinks is no hindrance when its client is taken over, kicked,
// or the broker stops.
func TestAuthenticationInterrupted(t *testing.T) {
	m := newObedient()
	b := start(t, nil, appliance.WithAuthMethod(m))
	hung := func() {
		t.Helper()
		if err := receive(t, "the end of the step", m.hung); !errors.Is(err, context.Canceled) {
			t.Errorf("the step ended with %v", err)
		}
	}
	c := begin(t, b.addr, obeys("c", "done:ann"))
	letIn(t, c)
	c.Send(authFrame(wire.ReAuthenticate, "hang"))
	receive(t, "the step to hang", m.hanging)
	b.Kick("c")
	if got := c.ExpectDisconnect(); got != wire.AdministrativeAction {
		t.Errorf("disconnected with %v", got)
	}
	hung()

	begin(t, b.addr, obeys("d", "hang"))
	receive(t, "the step to hang", m.hanging)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
	hung()
}

// What clients may have the broker hold for them before they are let in is
// bounded, in each packet and in total.
func TestAuthenticationMemory(t *testing.T) {
	const size = 16 << 10
	b := start(t, func(c *appliance.Config) {
		c.Limits.MaxConnectSize, c.Limits.MaxUnauthenticated = size, 8 // two packets' worth for all
	}, appliance.WithAuthMethod(newObedient()))
	big := func(id string, n int) wire.Connect {
		con := obeys(id, "ask:x")
		con.Will = &wire.Will{Topic: "will", Payload: bytes.Repeat([]byte("x"), n)}
		return con
	}
	c := begin(t, b.addr, obeys("c", "ask:x"))
	asked(t, c, "x")
	c.Send(wire.AppendAuth(nil, &wire.Auth{Reason: wire.ContinueAuthentication, Method: obedientName, Data: make([]byte, size)}))
	turnedAway(t, c, wire.PacketTooLarge)

	first, second := begin(t, b.addr, big("first", size-500)), begin(t, b.addr, big("second", size-100))
	asked(t, first, "x")
	asked(t, second, "x")
	third := begin(t, b.addr, big("third", size-500))
	for _, f := range third.ReadRest() { // none if there was no room for the whole of CONNECT
		if ack, err := wire.DecodeConnack(f, wire.V5); err != nil || ack.Reason != wire.ServerBusy {
			t.Errorf("got %+v, %v", ack, err)
		}
	}
	first.Send(append([]byte{0xF0, 0x80, 0x40}, make([]byte, 1000)...)) // part of an AUTH
	turnedAway(t, first, wire.ServerBusy)
	second.Send(authFrame(wire.ContinueAuthentication, "done:ann"))
	letIn(t, second)
	if n := b.Stats().Connections.Refused; n != 3 {
		t.Errorf("%d clients were refused", n)
	}
	// All of them give back what they held.
	first.Conn().Close()
	third.Conn().Close()
	var in []*brokertest.Client
	brokertest.WaitFor(t, "room for two", func() bool {
		c := begin(t, b.addr, big("fourth", size-500))
		var one [1]byte
		if _, err := c.Conn().Read(one[:]); err == nil && wire.Type(one[0]>>4) == wire.AUTH {
			in = append(in, c)
		} else {
			c.Conn().Close()
		}
		return len(in) == 2
	})
}
