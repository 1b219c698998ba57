package e2e_test

import (
	"context"
	"errors"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/xdg-go/scram"

	"github.com/synthetism/edgebroker/appliance"
	brokerdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// userStore is who may log in.
type userStore map[string]appliance.ScramKeys

func (u userStore) ScramKeys(_ context.Context, user string) (appliance.ScramKeys, bool, error) {
	if user == "broken" {
		return appliance.ScramKeys{}, false, errors.New("disk on fire")
	}
	k, ok := u[user]
	return k, ok, nil
}

// scramAuther is the part of paho.golang's client that a user writes: one
// exchange at a time.
type scramAuther struct {
	testing.TB
	conv *scram.ClientConversation
	done chan struct{} // one for each Authenticated
}

func (a *scramAuther) begin(user, password string) (first []byte) {
	a.Helper()
	c, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		a.Fatal(err)
	}
	a.conv = c.NewConversation()
	s, err := a.conv.Step("")
	if err != nil {
		a.Fatal(err)
	}
	return []byte(s)
}

func (a *scramAuther) Authenticate(p *paho.Auth) *paho.Auth {
	s, err := a.conv.Step(string(p.Properties.AuthData))
	if err != nil || p.Properties.AuthMethod != "SCRAM-SHA-256" {
		a.Errorf("the broker's %q of %q: %v", p.Properties.AuthData, p.Properties.AuthMethod, err)
	}
	return &paho.Auth{ReasonCode: byte(wire.ContinueAuthentication),
		Properties: &paho.AuthProperties{AuthMethod: "SCRAM-SHA-256", AuthData: []byte(s)}}
}

func (a *scramAuther) Authenticated() { a.done <- struct{}{} }

// final requires that the broker has shown that it knows the password's keys.
func (a *scramAuther) final(data []byte) {
	a.Helper()
	receive(a, "Authenticated", a.done)
	if _, err := a.conv.Step(string(data)); err != nil || !a.conv.Valid() {
		a.Errorf("the broker's last word is %q: %v", data, err)
	}
}

// TestScramWithPaho logs in with SCRAM-SHA-256, subscribes, publishes and logs
// in again, as a program on paho.golang does, over TCP and WebSocket.
func TestScramWithPaho(t *testing.T) {
	t.Run("tcp", func(t *testing.T) { scramWithPaho(t, func(b *broker) string { return b.addr }) })
	t.Run("websocket", func(t *testing.T) { scramWithPaho(t, webURL) })
}

func scramWithPaho(t *testing.T, address func(*broker) string) {
	keys, err := appliance.NewScramKeys("pencil", appliance.MinScramIterations)
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, func(c *appliance.Config) {
		withWebSocket(c)
		for i := range c.Listeners {
			c.Listeners[i].AllowAnonymous = new(bool)
		}
	},
		appliance.WithAuthMethod(appliance.ScramSHA256(userStore{"ann": keys})))

	connect := func(user, password string) (*paho.Client, *scramAuther, *paho.Connack, chan string, error) {
		t.Helper()
		conn, err := brokerdial.Broker(t.Context(), address(b), patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		got := make(chan string, 10)
		a := &scramAuther{TB: t, done: make(chan struct{}, 1)}
		c := paho.NewClient(paho.ClientConfig{ClientID: "c", Conn: packets.NewThreadSafeConn(conn), PacketTimeout: patience, AuthHandler: a,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				got <- string(p.Packet.Payload)
				return true, nil
			}}})
		ack, err := c.Connect(within(t), &paho.Connect{ClientID: "c", CleanStart: true, KeepAlive: 600,
			Properties: &paho.ConnectProperties{AuthMethod: "SCRAM-SHA-256", AuthData: a.begin(user, password)}})
		return c, a, ack, got, err
	}

	for _, tc := range []struct {
		user, password string
		want           wire.Reason
	}{
		{"ann", "Pencil", wire.NotAuthorized}, {"bob", "pencil", wire.NotAuthorized}, {"broken", "pencil", wire.ServerBusy},
	} {
		if _, _, ack, _, err := connect(tc.user, tc.password); err == nil || ack == nil || wire.Reason(ack.ReasonCode) != tc.want {
			t.Errorf("%q with %q: %+v, %v", tc.user, tc.password, ack, err)
		}
	}

	c, a, ack, got, err := connect("ann", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	a.final(ack.Properties.AuthData)
	if u := mustClient(t, b, "c").Username; u != "ann" {
		t.Errorf("the user is %q", u)
	}
	if _, err := c.Subscribe(within(t), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "t", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	reauthenticate := func(password string) (*paho.AuthResponse, error) {
		return c.Authenticate(within(t), &paho.Auth{ReasonCode: byte(wire.ReAuthenticate),
			Properties: &paho.AuthProperties{AuthMethod: "SCRAM-SHA-256", AuthData: a.begin("ann", password)}})
	}
	for range 3 {
		if _, err := c.Publish(within(t), &paho.Publish{Topic: "t", QoS: 1, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		receive(t, "the message", got)
		r, err := reauthenticate("pencil")
		if err != nil || !r.Success {
			t.Fatalf("%+v, %v", r, err)
		}
		receive(t, "Authenticated", a.done)
	}
	if r, err := reauthenticate("Pencil"); err != nil || r.Success || wire.Reason(r.ReasonCode) != wire.NotAuthorized {
		t.Errorf("%+v, %v", r, err)
	}
	receive(t, "the end of the connection", c.Done())
}
