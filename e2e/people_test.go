package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// message is a message as a client sees it. The payload is one line of text.
type message struct {
	topic, payload string
	qos            byte
	retain         bool
}

// options are what a person gives a client.
type options struct {
	id   string
	at   string // TCP address, or "unix:" and the path of a socket
	kept bool   // the session outlives its connections
	will *message
}

// client is an MQTT client that people use. Its methods belong to the test's
// goroutine and fail the test when something goes wrong.
type client interface {
	// subscribe connects if need be and returns when the broker has granted.
	subscribe(t testing.TB, qos byte, filters ...string)
	// publish sends lines and returns when the broker has acknowledged them.
	publish(t testing.TB, topic string, qos byte, retain bool, lines ...string)
	// messages brings what has been subscribed to.
	messages() <-chan message
	// leave disconnects properly. It does nothing the second time.
	leave(t testing.TB)
	// kill cuts the connection off without DISCONNECT.
	kill(t testing.TB)
}

// kind is a sort of client.
type kind struct {
	name string
	open func(testing.TB, *broker, options) client
}

// people are all kinds of clients.
func people() []kind {
	return []kind{
		{"mosquitto 3.1", mosquitto("31")},
		{"mosquitto 3.1.1", mosquitto("311")},
		{"mosquitto 5", mosquitto("5")},
		{"paho 3.1.1", openPaho3},
		{"paho 5", openPaho5},
	}
}

// expect waits for a message.
func expect(t testing.TB, c client, want message) {
	t.Helper()
	if got := receive(t, fmt.Sprintf("%q on %q", want.payload, want.topic), c.messages()); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// dial opens a socket at an address as options have it.
func dial(at string) (net.Conn, error) {
	network, address := "tcp", at
	if path, ok := strings.CutPrefix(at, "unix:"); ok {
		network, address = "unix", path
	}
	return net.DialTimeout(network, address, brokertest.Patience)
}

// limit bounds one step of a client.
func limit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), brokertest.Patience)
}

// awaitGone waits until a client has no connection any more.
func awaitGone(t testing.TB, b *broker, id string) {
	t.Helper()
	brokertest.WaitFor(t, id+" to be gone", func() bool {
		c, _ := b.Client(id)
		return !c.Connected
	})
}

// awaitSubscribed waits until the session of a client holds every filter and
// the client is connected.
func awaitSubscribed(t testing.TB, b *broker, id string, filters ...string) {
	t.Helper()
	brokertest.WaitFor(t, id+" to subscribe", func() bool {
		c, _ := b.Client(id)
		have := 0
		for _, f := range c.Filters {
			for _, want := range filters {
				if f.Filter == want {
					have++
				}
			}
		}
		return c.Connected && have == len(filters)
	})
}

// patience is brokertest's, for clients that want it as a timeout.
const patience = time.Duration(brokertest.Patience)
