package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Scenario says who talks to whom.
type Scenario string

const (
	// FanIn is Clients publishers to one subscriber.
	FanIn Scenario = "fan-in"
	// Pairs is Clients publishers, each with a subscriber of its own.
	Pairs Scenario = "pairs"
	// FanOut is one publisher to Clients subscribers.
	FanOut Scenario = "fan-out"
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
	Clients  int          // publishers, pairs or subscribers, as the scenario says; default 10
	QoS      byte         // 0, 1 or 2, of publishes and subscriptions
	Version  wire.Version // default 3.1.1; 3.1 is not offered
	Payload  int          // bytes, at least MinPayload; default 64

	Count    uint64        // messages each publisher sends; 0: until Duration is over
	Duration time.Duration // length of the measured interval; 0: until Count is reached
	Warmup   time.Duration // load before the measured interval, counted in nothing but loss and order

	Kept bool // subscribers have sessions that outlive their connections; they are removed after the run

	Stalled int // further subscribers to everything that read nothing: what do they cost the others?

	Window int     // closed loop: messages of one publisher on their way at most; default 64
	Rate   float64 // open loop: messages per second of each publisher; 0: closed loop

	StallAfter time.Duration // give up when nothing arrives for so long; default 5 s
	BrokerPID  int           // process whose CPU time and memory are measured; 0: none

	Username string // login, if the broker asks for one
	Password string
}

// withDefaults returns o with its zero fields set.
func (o Options) withDefaults() Options {
	if o.Scenario == "" {
		o.Scenario = Pairs
	}
	if o.Clients == 0 {
		o.Clients = 10
	}
	if o.Version == 0 {
		o.Version = wire.V311
	}
	if o.Payload == 0 {
		o.Payload = 64
	}
	if o.Window == 0 {
		o.Window = 64
	}
	if o.StallAfter == 0 {
		o.StallAfter = 5 * time.Second
	}
	if o.Count == 0 && o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	return o
}

// Validate reports everything that is wrong with o, joined into one error.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Address == "" {
		bad("address is empty; give host:port or unix:/path")
	}
	switch o.Scenario {
	case FanIn, Pairs, FanOut:
	default:
		bad("scenario %q is unknown; choose %s, %s or %s", o.Scenario, FanIn, Pairs, FanOut)
	}
	if o.Clients < 1 || o.Clients > 10000 {
		bad("clients is %d; choose 1 to 10000", o.Clients)
	}
	if o.Stalled < 0 || o.Stalled > 1000 {
		bad("stalled is %d; choose 0 to 1000", o.Stalled)
	}
	if o.QoS > 2 {
		bad("qos is %d; choose 0, 1 or 2", o.QoS)
	}
	if o.Version != wire.V311 && o.Version != wire.V5 {
		bad("version %v is not offered; choose 3.1.1 or 5", o.Version)
	}
	if o.Payload < MinPayload || o.Payload > MaxPayload {
		bad("payload is %d bytes; choose %d to %d", o.Payload, MinPayload, MaxPayload)
	}
	if o.Count > math.MaxUint32 {
		bad("count is %d; choose at most %d", o.Count, uint32(math.MaxUint32))
	}
	if o.Window < 1 || o.Window > maxWindow {
		bad("window is %d messages; choose 1 to %d", o.Window, maxWindow)
	}
	if !(o.Rate >= 0 && o.Rate <= 1e6) { // also refuses NaN
		bad("rate is %v per second; choose 0 (closed loop) to 1000000", o.Rate)
	}
	if o.Duration < 0 || o.Warmup < 0 || o.StallAfter < 0 {
		bad("duration, warm-up and stall limit cannot be negative")
	}
	if o.BrokerPID < 0 {
		bad("pid is %d; give the broker's process id or 0", o.BrokerPID)
	}
	return errors.Join(errs...)
}

// counts returns how many publishers and subscribers the scenario has.
func (o Options) counts() (publishers, subscribers int) {
	switch o.Scenario {
	case FanIn:
		return o.Clients, 1
	case FanOut:
		return 1, o.Clients
	default:
		return o.Clients, o.Clients
	}
}
