package e2e_test

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// The tests in files named conformance_* go through the specifications: each
// function shows the statements that it cites. [MQTT-x] is a number of MQTT 5,
// [MQTT3-x] one of 3.1.1; see docs/CONFORMANCE.md.

// fact is one thing that a specification demands. Facts of one test run in
// parallel on one broker, so they keep to their own topics and client ids.
type fact func(s *stage)

// stage is where a fact is shown: a broker, a protocol version, and a prefix
// for topics and client ids.
type stage struct {
	*testing.T
	b    *broker
	v    wire.Version
	root string
}

// conform shows facts in each of the versions on one broker, over TCP and, in
// the last of the versions, over TLS.
func conform(t *testing.T, versions []wire.Version, facts map[string]fact) {
	b := start(t, withTLS(t))
	conformOn(t, b, versions, facts)
	secure := *b
	secure.addr = "tls:" + b.Addr("tls")
	t.Run("over TLS", func(t *testing.T) { conformOn(t, &secure, versions[len(versions)-1:], facts) })
}

func conformOn(t *testing.T, b *broker, versions []wire.Version, facts map[string]fact) {
	t.Helper()
	t.Run("shown", func(t *testing.T) {
		for name, f := range facts {
			for _, v := range versions {
				t.Run(name+", "+v.String(), func(t *testing.T) {
					t.Parallel()
					root := strings.NewReplacer(" ", "-", "#", "hash", "+", "plus", "$", "dollar", ":", "-").Replace(name + "-" + v.String() + b.addr[:4])
					f(&stage{T: t, b: b, v: v, root: root})
				})
			}
		}
	})
}

var (
	every = []wire.Version{wire.V31, wire.V311, wire.V5}
	only5 = []wire.Version{wire.V5}
	only3 = []wire.Version{wire.V311}
)

// topic is a topic or filter of this stage alone.
func (s *stage) topic(rest string) string { return s.root + "/" + rest }

// id is a client id of this stage alone.
func (s *stage) id(name string) string { return s.root + "-" + name }

// clean connects a client whose session ends with the connection, kept one
// whose session does not.
func (s *stage) clean(name string) *brokertest.Client {
	s.Helper()
	return brokertest.Dial(s, s.b.addr, brokertest.Clean(s.v, s.id(name)))
}

func (s *stage) kept(name string) *brokertest.Client {
	s.Helper()
	return brokertest.Dial(s, s.b.addr, brokertest.Kept(s.v, s.id(name)))
}

// dial connects with con, whose version and client id it sets.
func (s *stage) dial(name string, con wire.Connect) *brokertest.Client {
	s.Helper()
	con.Version, con.ClientID = s.v, s.id(name)
	return brokertest.Dial(s, s.b.addr, con)
}

// raw connects nothing: the test sends every byte itself.
func (s *stage) raw() *brokertest.Client {
	s.Helper()
	return brokertest.DialRaw(s, s.b.addr, s.v)
}

// out is a message to a topic of this stage.
func (s *stage) out(qos byte, topic, payload string) wire.Out {
	return wire.Out{QoS: qos, Topic: []byte(s.topic(topic)), Payload: []byte(payload)}
}

// ended requires that the broker ends the connection: in MQTT 5 with
// DISCONNECT and the reason as its last word, before that without a word.
func (s *stage) ended(c *brokertest.Client, want wire.Reason) {
	s.Helper()
	rest := c.ReadRest()
	if s.v != wire.V5 {
		for _, f := range rest {
			if f.Type == wire.DISCONNECT {
				s.Fatalf("got % x, which only clients send", f.Raw)
			}
		}
		return
	}
	if len(rest) == 0 {
		s.Fatalf("the connection ended without a word instead of %v", want)
	}
	d, err := wire.DecodeServerDisconnect(rest[len(rest)-1], s.v)
	if err != nil || d.Reason != want {
		s.Fatalf("the last word was % x (%v, %v) instead of %v", rest[len(rest)-1].Raw, d.Reason, err, want)
	}
}

// frame is a packet made by hand, of parts that are bytes, strings with their
// length (text) or property sections (props).
func frame(first byte, parts ...any) []byte {
	var body []byte
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			body = append(body, p)
		case int:
			body = append(body, byte(p))
		case string:
			body = append(body, p...)
		case []byte:
			body = append(body, p...)
		}
	}
	if len(body) > 127 {
		panic("a frame made by hand is short")
	}
	return append([]byte{first, byte(len(body))}, body...)
}

// text is a string with its length.
func text(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

// props is a property section with its length.
func props(p ...string) string {
	all := strings.Join(p, "")
	return string([]byte{byte(len(all))}) + all
}
