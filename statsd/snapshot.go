// Package statsd is edgebroker's stats daemon. It is not the StatsD protocol:
// it is the part that answers questions about a running broker.
//
// It defines what is reported (Snapshot, Client, Health), asks the broker for
// it through Backend, and serves it over a unix socket: JSON for tools, streams
// of JSON lines for live views, Prometheus metrics for scrapers. ControlClient
// is the other end of that socket; the command line uses it. Sampler turns
// totals into averages, so that the broker's hot path only ever adds to
// counters.
//
// The JSON forms of Snapshot, Client and events.Event are a documented
// contract: fields are added, never renamed or removed.
package statsd

import "time"

// Snapshot is the broker's counters at one instant. Each number is exact by
// itself; sums across numbers may be off by messages that are under way. Totals
// count from the start of the process.
type Snapshot struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt"` // by today's clock: it follows when the clock is set
	Uptime    float64   `json:"uptime"`    // seconds, by the monotonic clock

	Listeners []Listener `json:"listeners"` // bound now, in the order of the configuration

	ClientCount  int64  `json:"clientCount"`  // clients connected now
	MessageCount uint64 `json:"messageCount"` // messages published since start: by clients, their wills, and the broker

	Connections   Connections   `json:"connections"`
	Sessions      Sessions      `json:"sessions"`
	Subscriptions Subscriptions `json:"subscriptions"`
	Retained      Store         `json:"retained"`
	Received      Traffic       `json:"received"` // from clients
	Sent          Traffic       `json:"sent"`     // to clients
	Dropped       Dropped       `json:"dropped"`
	Delivery      Delivery      `json:"delivery"`
	Queued        Queued        `json:"queued"`
	Outbound      Outbound      `json:"outbound"`
	Rates         Rates         `json:"rates"`
	Storage       Storage       `json:"storage"` // on disk
	Memory        Memory        `json:"memory"`
	Budget        Budget        `json:"budget"` // of memory
	Events        EventStats    `json:"events"`
	Push          PushStats     `json:"push"` // to a StatsD server
	OTLP          OTLPStats     `json:"otlp"` // to an OpenTelemetry collector

	// Disconnections counts ended connections by reason word.
	Disconnections map[string]uint64 `json:"disconnections"`

	// Refusals counts what clients asked for and were denied, by what it was:
	// "connect", "publish", "subscribe"; and how often one was slowed down at
	// the limit of its rate: "publish_rate". Sockets that were closed before they
	// became an MQTT connection count under the reason, such as "connect_rate".
	Refusals map[string]uint64 `json:"refusals"`

	// Bridges are the uplinks, in the order of the configuration.
	Bridges []Bridge `json:"bridges,omitempty"`

	// Sinks are the event sinks, in the order of the configuration.
	Sinks []EventSink `json:"eventSinks,omitempty"`

	// Certificates are those that listeners use, in the order of the configuration.
	Certificates []Certificate `json:"certificates,omitempty"`

	// PayloadSizes counts Received by payload: entry i messages of at most 16*4^i
	// bytes and, but for the first, more than a quarter of that.
	PayloadSizes []uint64 `json:"payloadSizes,omitempty"`
}

// Listener is one place where MQTT clients connect.
type Listener struct {
	Name    string `json:"name"`    // as configured
	Type    string `json:"type"`    // "tcp" or "unix"
	Address string `json:"address"` // as bound: where the configured port is 0, the port that was free
	Sockets int64  `json:"sockets"` // of clients that are open, as Connections.Sockets
}

// Connections counts network connections of clients.
type Connections struct {
	Current int64  `json:"current"` // connected now
	Maximum int64  `json:"maximum"` // most at one time since start
	Total   uint64 `json:"total"`   // accepted since start: CONNECT was answered with success
	Refused uint64 `json:"refused"` // turned away since start
	Sockets int64  `json:"sockets"` // open now, those included that have not finished CONNECT
	Opened  uint64 `json:"opened"`  // sockets taken since start
}

// Sessions counts MQTT sessions.
type Sessions struct {
	Total     int64  `json:"total"`
	Connected int64  `json:"connected"` // with a client attached
	Kept      int64  `json:"kept"`      // waiting for their client to come back
	Expired   uint64 `json:"expired"`   // since start: their client did not come back in time
}

// Subscriptions counts subscriptions of all sessions.
type Subscriptions struct {
	Total  int64 `json:"total"`  // shared ones included
	Shared int64 `json:"shared"` // members of share groups
}

// Store counts stored messages.
type Store struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"` // memory charged for them: topic, properties, payload and a fixed overhead
}

// Traffic counts what went one way since start.
type Traffic struct {
	Messages     uint64 `json:"messages"` // PUBLISH packets
	QoS0         uint64 `json:"qos0"`
	QoS1         uint64 `json:"qos1"`
	QoS2         uint64 `json:"qos2"`
	PayloadBytes uint64 `json:"payloadBytes"`
	Packets      uint64 `json:"packets"` // of every type
	Bytes        uint64 `json:"bytes"`   // on the wire, headers included
}

// Dropped counts messages and deliveries that were lost since start.
type Dropped struct {
	Total    uint64            `json:"total"`
	ByReason map[string]uint64 `json:"byReason"`
}

// Missed is how many of them somebody has missed: what nobody had subscribed to is
// lost to nobody.
func (d Dropped) Missed() uint64 { return d.Total - d.ByReason["no_subscribers"] }

// Queued counts messages that wait for a client.
type Queued struct {
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`    // memory charged for them, as in Store, unacknowledged ones included
	Inflight int64 `json:"inflight"` // sent, not yet acknowledged
}

// Outbound is what was sent on connections and not taken by the network yet.
type Outbound struct {
	Packets int64 `json:"packets"` // since the connection had nothing to write last
	Bytes   int64 `json:"bytes"`
}

// PushStats counts what went to a StatsD server since start.
type PushStats struct {
	Datagrams uint64 `json:"datagrams"` // handed to the network
	Dropped   uint64 `json:"dropped"`   // could not be; what they counted goes with later ones
}

// Memory is what the process uses.
type Memory struct {
	Heap       uint64 `json:"heap"`     // bytes of live and not yet swept objects
	Sys        uint64 `json:"sys"`      // bytes the Go runtime holds from the system
	Resident   uint64 `json:"resident"` // bytes in physical memory, 0 if unknown
	Goroutines int    `json:"goroutines"`
}

// Budget is the memory that the broker keeps to, and what it has given up for
// that.
type Budget struct {
	Bytes    int64             `json:"bytes"`    // 0: there is no budget
	Source   string            `json:"source"`   // who says so: "config", "off", "unknown", or the file that tells the memory of the control group or the machine
	Used     int64             `json:"used"`     // bytes of the budget: what is alive of the heap, and stacks
	Most     int64             `json:"most"`     // the most since the start
	Level    string            `json:"level"`    // how short memory is: "calm", "guarded", "shedding" or "severe"
	Pressure int               `json:"pressure"` // the same as a number from 0 on
	Begun    map[string]uint64 `json:"begun"`    // how often each level but the first has begun
	Outbound int64             `json:"outbound"` // bytes of memory for what waits in connections to be sent
	Input    int64             `json:"input"`    // bytes of memory for packets that have not arrived whole
	Shed     map[string]uint64 `json:"shed"`     // what was given up: "connections", "qos0", "retained"; "spilled" to the store
}

// EventStats describes the event bus.
type EventStats struct {
	Published uint64 `json:"published"` // events offered while somebody listened
	Dropped   uint64 `json:"dropped"`   // events lost because a listener was too slow
	Listeners int    `json:"listeners"` // now
	// Unrecorded are events that the flight recorder could not keep: too long, or the
	// disk has failed or was full.
	Unrecorded uint64 `json:"unrecorded"`
}

// Rates holds averages per second. Sampler fills them in.
type Rates struct {
	Received      Rate `json:"received"`      // messages from clients
	Sent          Rate `json:"sent"`          // messages to clients
	Dropped       Rate `json:"dropped"`       // messages and deliveries lost, and messages that nobody had subscribed to
	Lost          Rate `json:"lost"`          // of these, those that somebody has missed
	BytesReceived Rate `json:"bytesReceived"` // on the wire
	BytesSent     Rate `json:"bytesSent"`     // on the wire
	Connections   Rate `json:"connections"`   // connections accepted
}

// Rate is one quantity per second, averaged over three spans of time.
type Rate struct {
	Min1  float64 `json:"1min"`
	Min5  float64 `json:"5min"`
	Min15 float64 `json:"15min"`
}
