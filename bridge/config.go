package bridge

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"net"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Config describes one uplink. The functions are called for each attempt to
// connect, so that what they read may change meanwhile.
type Config struct {
	Name     string // tells it apart; part of its session's client identifier
	URL      string // where it connects to, for people
	ClientID string // on the far side
	Username string
	Password func() ([]byte, error) // nil: none
	Renewal  func() time.Time       // when the connection is to be made anew, before the last Password expires; zero or nil: never
	Refused  func()                 // the far side does not take the last Password; may be nil
	Version  wire.Version           // that is spoken; 0: 5
	Dial     func(context.Context) (net.Conn, error)
	Proxy    func() (string, error) // what Dial goes through, for people; "" or nil: nothing
	Rules    Rules
	NATS     *NATS // a NATS system instead of a broker, which Dial is not used for; nil: a broker

	// A lane is an uplink for a part of the rules of another, which is called Of.
	// Dead letters are with that one, and so is what comes in. Messages of all are
	// those of the same Gateway.
	Of      string // empty: it is no lane
	Gateway string // empty: ClientID
	Share   *Share // what lanes have in common; nil: nothing
	Own     *Share // what it has in common with its way for live messages, besides; nil: nothing
	Rank    int    // among them
	Live    *Live  // it is the way for live messages of another; nil: it is not

	MaxPacket     int // bytes of the largest packet that the far side may send; 0: as large as packets are
	KeepAlive     time.Duration
	SessionExpiry time.Duration // that the far side is asked for; QoS 2 is once across an outage of at most this
	AckTimeout    time.Duration // for how long the far side may leave a message without an answer
	Backoff       Backoff
	Canary        Canary

	// What goes out per second, at most; 0: as much as the far side takes. QoS 0
	// beyond it is dropped, the rest waits.
	SendRate  int // messages
	SendBytes int // bytes of topics, payloads and properties

	// Origin, if not empty, is this broker's name in a user property of what
	// goes out. What has it already, or MaxHops names, has gone round in a circle
	// and goes no further.
	Origin  string
	MaxHops int
}

func (c *Config) version() wire.Version { return cmp.Or(c.Version, wire.V5) }

// What CONNECT says of c.
func (c *Config) keepAlive() uint16     { return uint16(min(c.KeepAlive/time.Second, math.MaxUint16)) }
func (c *Config) sessionExpiry() uint32 { return uint32(min(c.SessionExpiry/time.Second, forever)) }
func (c *Config) maxPacket() uint32     { return uint32(cmp.Or(c.MaxPacket, wire.MaxFrameSize)) }

// Bounds that are the same for every uplink.
const (
	connectTimeout = 15 * time.Second
	writeTimeout   = 30 * time.Second // for each piece
	writePiece     = 16 << 10         // bytes
	farewell       = time.Second      // how long a far side may take to read what waits for it before DISCONNECT
)

// filtersAtOnce is how many filters a SUBSCRIBE has at most: AWS IoT Core takes no
// more.
const filtersAtOnce = 8

// viaKey is the user property that names a broker which a message has passed.
const viaKey = "edgebroker-via"

// upper is the name of the uplink that this is a lane of, or its own.
func (c *Config) upper() string { return cmp.Or(c.Of, c.Name) }

// gateway is what the far side calls this gateway.
func (c *Config) gateway() string { return cmp.Or(c.Gateway, c.ClientID) }

// mark adds this broker to the brokers that a message has passed.
func (c *Config) mark(props []byte) []byte {
	if c.Origin == "" {
		return props
	}
	return wire.AppendUserProperty(slices.Clone(props), wire.UserProperty{Key: viaKey, Value: c.Origin})
}

// seen reports whether a message has gone round in a circle.
func (c *Config) seen(props []byte) bool {
	if c.Origin == "" || !bytes.Contains(props, []byte(viaKey)) {
		return false
	}
	hops, own := 0, false
	for key, value := range wire.UserProperties(props) {
		if string(key) == viaKey {
			hops++
			own = own || string(value) == c.Origin
		}
	}
	return own || c.MaxHops > 0 && hops >= c.MaxHops
}
