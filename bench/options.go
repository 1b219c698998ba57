package bench

import (
	"crypto/tls"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

const (
	// MinPayload is the smallest payload in bytes: publisher, sequence, time.
	MinPayload = headerSize
	// MaxPayload keeps one frame well inside the read buffer.
	MaxPayload = 1 << 20
	// maxWindow keeps packet ids far from being used twice at a time.
	maxWindow = 1 << 14
)

// Options says what load to apply. The zero value of a field is its default.
type Options struct {
	Address  string       // host:port, tcp://host:port, mqtt://host:port, ws://host:port/path, unix:/path, or over TLS mqtts://host:port or wss://host:port/path
	TLS      *tls.Config  // over TLS; nil: trust the authorities of the system
	Scenario Scenario     // default Pairs
	Client   Client       // default Raw; Paho needs version 5
	Clients  int          // publishers, pairs or subscribers, as the scenario says; default 10
	QoS      byte         // 0, 1 or 2, of publishes and subscriptions
	Version  wire.Version // default 3.1.1; 3.1 is not offered
	Payload  int          // bytes, at least MinPayload; default 64

	Topic          string // Sub: the filter, default "#"; else topics are below it, default "bench"
	Topics         int    // topics of each publisher, which takes one after the other; Idle: subscriptions of each client; default 1, Idle: 0
	Wildcard       int    // further subscribers, each to everything by a wildcard
	Subscriptions  int    // further subscriptions that match nothing: what do they cost the others?
	UserProperties int    // user properties of each publish, in version 5
	Aliases        bool   // publishers use topic aliases, in version 5
	Retain         bool   // publishes are retained; the topics are cleared after the run

	Count    uint64        // messages each publisher sends; Connect: connections each client makes; 0: until Duration is over
	Duration time.Duration // length of the measured interval; 0: until Count is reached
	Warmup   time.Duration // load before the measured interval, counted in nothing but loss and order; Idle: time for the broker to settle

	Kept bool // subscribers have sessions that outlive their connections; they are removed after the run

	Stalled int // further subscribers to everything that read nothing: what do they cost the others?

	Window int     // closed loop: messages of one publisher, or handshakes of Connect, on their way at most; default 64
	Rate   float64 // open loop: messages per second of each publisher, or connections per second of all clients; 0: closed loop

	// Open loop at a part of what the closed loop has managed before; Series only.
	RateShare float64

	Stay      time.Duration // Connect: how long clients stay when all have come; 0: each leaves at once
	KeepAlive time.Duration // Idle: between two PINGREQs of a client, whole seconds; 0: none are sent

	StallAfter time.Duration // give up when nothing arrives for so long; default 5 s
	BrokerPID  int           // process whose CPU time and memory are measured; 0: none

	Progress func(Progress) // called from another goroutine, at every Interval while Run runs; nil: nobody asks
	Interval time.Duration

	Username string // login, if the broker asks for one
	Password string
}

// withDefaults returns o with its zero fields set.
func (o Options) withDefaults() Options {
	if o.Scenario == "" {
		o.Scenario = Pairs
	}
	if o.Client == "" {
		o.Client = Raw
	}
	if o.Clients == 0 {
		o.Clients = 10
	}
	if o.Version == 0 {
		o.Version = wire.V311
		if o.Client == Paho {
			o.Version = wire.V5
		}
	}
	if o.Payload == 0 {
		o.Payload = 64
	}
	if o.Topic == "" {
		o.Topic = "bench"
		if o.Scenario == Sub {
			o.Topic = "#"
		}
	}
	if o.Topics == 0 && o.Scenario != Idle {
		o.Topics = 1
	}
	if o.Window == 0 {
		o.Window = 64
	}
	if o.Rate == 0 && o.Scenario == Mixed {
		o.Rate = 1
	}
	if o.StallAfter == 0 {
		o.StallAfter = 5 * time.Second
	}
	if o.Count == 0 && o.Duration == 0 {
		if o.Scenario == Connect {
			o.Count = 1
		} else {
			o.Duration = 5 * time.Second
		}
	}
	return o
}
