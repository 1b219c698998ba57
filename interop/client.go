package main

import (
	"context"
	"errors"
	"slices"
)

// The protocol versions and transports of the matrix, as they are printed and
// as drivers get them.
const (
	v31  = "3.1"
	v311 = "3.1.1"
	v5   = "5"

	tcp  = "tcp"
	unix = "unix"
	ws   = "ws"
)

// errCannot is what a Client returns for what its library has no way to ask
// for. It makes a cell "n.a.", so it must not stand for anything else.
var errCannot = errors.New("the client cannot")

// Addresses is where the broker listens.
type Addresses struct {
	TCP  string `json:"tcp"`  // host:port
	Unix string `json:"unix"` // path
	WS   string `json:"ws"`   // host:port; the path is /mqtt
}

// Library is one client library in one released version.
type Library struct {
	Name       string   // with its version
	Versions   []string // protocol versions it speaks
	Transports []string
	// SeveralIDs: its messages show all subscription identifiers when there is
	// more than one.
	SeveralIDs bool
	// HidesPresent: it does not show CONNACK's session present, and subscribes
	// whenever it connects.
	HidesPresent bool
	// LeavesWill: in version 5 it disconnects with reason 0x04, which asks the
	// broker for the will.
	LeavesWill bool
	// PlainWill: of a will's properties it sends only user properties.
	PlainWill bool
	// Open makes a client that is not connected yet.
	Open func(Options) Client
}

// limits says what the cases do not ask of l, or ask differently, and why.
func (l *Library) limits() (out []string) {
	for _, limit := range []struct {
		holds bool
		text  string
	}{
		{!l.SeveralIDs && slices.Contains(l.Versions, v5), "shows one subscription identifier of a message, so overlapping subscriptions are not tried"},
		{l.HidesPresent, "subscribes whenever it connects and does not show session present, so its kept session shows in what waited for it"},
		{l.LeavesWill, "leaves with reason 0x04 in MQTT 5, which asks for the will, so that is what must happen"},
		{l.PlainWill, "sends no properties of a will but user properties"},
	} {
		if limit.holds {
			out = append(out, limit.text)
		}
	}
	return out
}

// Options is what a client connects with, each time it does.
type Options struct {
	At        Addresses `json:"at"`
	Version   string    `json:"version"`
	Transport string    `json:"transport"`
	ID        string    `json:"id"`
	// Kept asks for a session that outlives the connection.
	Kept bool     `json:"kept"`
	Will *Message `json:"will,omitempty"`
}

// Filter is one entry of a subscription.
type Filter struct {
	Filter string `json:"filter"`
	QoS    byte   `json:"qos"`
}

// Message is a PUBLISH, sent or received. Payloads are UTF-8.
type Message struct {
	Topic      string     `json:"topic"`
	Payload    string     `json:"payload"`
	QoS        byte       `json:"qos"`
	Retain     bool       `json:"retain"`
	Properties Properties `json:"properties"`
}

// Properties is what MQTT 5 adds to a message; zero values are left out.
type Properties struct {
	User            [][2]string `json:"user,omitempty"`
	ResponseTopic   string      `json:"responseTopic,omitempty"`
	CorrelationData string      `json:"correlationData,omitempty"`
	ContentType     string      `json:"contentType,omitempty"`
	Text            bool        `json:"text,omitempty"`   // payload format indicator 1
	Expiry          uint32      `json:"expiry,omitempty"` // seconds
	IDs             []int       `json:"ids,omitempty"`    // subscription identifiers, received only
	Alias           uint16      `json:"alias,omitempty"`  // sent only
}

// Client is one MQTT client. Its methods are called by one goroutine, but for
// Messages. All of them return errCannot, possibly wrapped, for what the
// library lacks.
type Client interface {
	// Connect returns when the broker has accepted, with CONNACK's session
	// present unless the library hides it. It can be called again after Disconnect and
	// Kill. A library that connects only with its subscription does so there.
	Connect(context.Context) (present bool, err error)
	// Subscribe returns when the broker has granted the filters at the QoS
	// asked for. id is the subscription identifier, 0 for none.
	Subscribe(ctx context.Context, id int, filters ...Filter) error
	// Publish sends in order and returns when all messages are acknowledged.
	// A message with an alias and no topic uses the alias.
	Publish(context.Context, ...Message) error
	// Messages is all that was received so far and since; it is not closed.
	Messages() <-chan Message
	// Disconnect ends the connection with DISCONNECT, Kill without.
	Disconnect(context.Context) error
	Kill(context.Context) error
}

// received is room for what a case makes a client receive, with a wide margin;
// what does not fit blocks the client until its case has timed out.
const received = 1000
