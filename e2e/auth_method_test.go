package e2e_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// obedient is an authentication method that does what the client's data says:
//
//	ask:X    ask for more, with data X
//	done:U   let the client in as user U, with data "welcome"
//	deny     refuse
//	busy     refuse with a reason of its own
//	hang     think until the time is up, then let the client in
//
// Without data it asks for more without data.
type obedient struct {
	begun   chan appliance.AuthPeer
	hanging chan struct{} // one for each step that hangs
	hung    chan error    // why it ended
}

func newObedient() *obedient {
	return &obedient{begun: make(chan appliance.AuthPeer, 1000), hanging: make(chan struct{}, 1000), hung: make(chan error, 1000)}
}

const obedientName = "OBEDIENT"

func (m *obedient) Name() string { return obedientName }

func (m *obedient) Begin(p appliance.AuthPeer) appliance.AuthExchange {
	m.begun <- p
	return m
}

func (m *obedient) Step(ctx context.Context, data []byte) (appliance.AuthStep, error) {
	if data == nil {
		return appliance.AuthStep{}, nil
	}
	what, rest, _ := strings.Cut(string(data), ":")
	switch what {
	case "ask":
		return appliance.AuthStep{Data: []byte(rest)}, nil
	case "done":
		return appliance.AuthStep{Data: []byte("welcome"), Done: true, Username: rest}, nil
	case "busy":
		return appliance.AuthStep{}, &wire.Error{Reason: wire.ServerBusy}
	case "hang":
		m.hanging <- struct{}{}
		<-ctx.Done()
		m.hung <- context.Cause(ctx)
		return appliance.AuthStep{Done: true}, nil
	}
	return appliance.AuthStep{}, errors.New("denied")
}

// obeys is a CONNECT that names the method, with data unless that is "".
func obeys(id, data string) wire.Connect {
	con := brokertest.Clean(wire.V5, id)
	con.HasAuthMethod, con.AuthMethod = true, obedientName
	if data != "" {
		con.AuthData = []byte(data)
	}
	return con
}

// authFrame is an AUTH of the obedient's client.
func authFrame(r wire.Reason, data string) []byte {
	a := wire.Auth{Reason: r, Method: obedientName}
	if data != "" {
		a.Data = []byte(data)
	}
	return wire.AppendAuth(nil, &a)
}

// begin sends CONNECT and returns the client, whatever may come.
func begin(t testing.TB, addr string, con wire.Connect) *brokertest.Client {
	t.Helper()
	c := brokertest.DialRaw(t, addr, wire.V5)
	c.Send(wire.AppendConnect(nil, &con))
	return c
}

// asked requires an AUTH with 0x18, the method, and data, and nothing else.
// [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.15.2-1] [MQTT-3.15.2-2] [MQTT-3.15.2-3]
func asked(t testing.TB, c *brokertest.Client, data string) {
	t.Helper()
	expectAuth(t, c, wire.ContinueAuthentication, data)
}

func expectAuth(t testing.TB, c *brokertest.Client, r wire.Reason, data string) {
	t.Helper()
	if f, want := c.Expect(wire.AUTH), authFrame(r, data); string(f.Raw) != string(want) {
		t.Fatalf("AUTH is % x; want % x", f.Raw, want)
	}
}

// letIn requires a CONNACK that says who has been let in by which method.
func letIn(t testing.TB, c *brokertest.Client) {
	t.Helper()
	ack, err := wire.DecodeConnack(c.Expect(wire.CONNACK), wire.V5)
	if err != nil || ack.Reason != wire.Success || ack.AuthMethod != obedientName || string(ack.AuthData) != "welcome" {
		t.Fatalf("CONNACK is %+v, %v", ack, err)
	}
}

// turnedAway requires that the broker's only word is a CONNACK with a reason.
func turnedAway(t testing.TB, c *brokertest.Client, want wire.Reason) {
	t.Helper()
	rest := c.ReadRest()
	if len(rest) != 1 {
		t.Fatalf("got %d packets instead of CONNACK", len(rest))
	}
	ack, err := wire.DecodeConnack(rest[0], wire.V5)
	if err != nil || ack.Reason != want || ack.AuthData != nil {
		t.Fatalf("CONNACK is %+v, %v; want %v", ack, err, want)
	}
}
