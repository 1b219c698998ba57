package handover

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func texts() *rapid.Generator[string] { return rapid.StringN(0, 6, 20) }

func spans() *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.Int64Range(0, 1<<62), func(n int64) time.Duration { return time.Duration(n) })
}

// some is a list that is nil if it is empty, as what is read.
func some[T any](g *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.Map(rapid.SliceOfN(g, 0, 3), func(l []T) []T {
		if len(l) == 0 {
			return nil
		}
		return l
	})
}

func octets() *rapid.Generator[[]byte] { return some(rapid.Byte()) }

// maybe is a pointer or nil.
func maybe[T any](g *rapid.Generator[T]) *rapid.Generator[*T] {
	return rapid.Custom(func(t *rapid.T) *T {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		v := g.Draw(t, "value")
		return &v
	})
}

func table[K comparable, V any](k *rapid.Generator[K], v *rapid.Generator[V]) *rapid.Generator[map[K]V] {
	return rapid.Map(rapid.MapOfN(k, v, 0, 3), func(m map[K]V) map[K]V {
		if len(m) == 0 {
			return nil
		}
		return m
	})
}

func qos() *rapid.Generator[byte] { return rapid.ByteRange(0, 2) }

func messages() *rapid.Generator[relay.CarriedMessage] {
	return rapid.Custom(func(t *rapid.T) relay.CarriedMessage {
		return relay.CarriedMessage{Topic: texts().Draw(t, "topic"), Publisher: texts().Draw(t, "publisher"), Payload: octets().Draw(t, "payload"),
			Props: octets().Draw(t, "props"), QoS: qos().Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"),
			Left: spans().Draw(t, "left"), Age: spans().Draw(t, "age")}
	})
}

func deliveries(messages int) *rapid.Generator[relay.CarriedDelivery] {
	return rapid.Custom(func(t *rapid.T) relay.CarriedDelivery {
		return relay.CarriedDelivery{Seq: rapid.Uint64().Draw(t, "seq"), Stored: rapid.Bool().Draw(t, "stored"),
			Message: rapid.IntRange(-1, messages-1).Draw(t, "message"), State: rapid.Byte().Draw(t, "state"), PacketID: rapid.Uint16().Draw(t, "id"),
			QoS: qos().Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"), Latest: rapid.Bool().Draw(t, "latest"),
			IDs: some(rapid.Uint32()).Draw(t, "ids"), Share: texts().Draw(t, "share"), Left: spans().Draw(t, "left")}
	})
}

func subscriptions() *rapid.Generator[relay.Subscription] {
	drains := rapid.Custom(func(t *rapid.T) relay.Drain {
		return relay.Drain{Rank: rapid.IntRange(0, 9).Draw(t, "rank"), TTL: spans().Draw(t, "ttl"), Latest: rapid.Bool().Draw(t, "latest"), Never: rapid.Bool().Draw(t, "never"), Kept: rapid.Bool().Draw(t, "kept")}
	})
	return rapid.Custom(func(t *rapid.T) relay.Subscription {
		return relay.Subscription{Filter: texts().Draw(t, "filter"), QoS: qos().Draw(t, "qos"), NoLocal: rapid.Bool().Draw(t, "noLocal"),
			RetainAsPublished: rapid.Bool().Draw(t, "rap"), RetainHandling: qos().Draw(t, "rh"), ID: rapid.Uint32().Draw(t, "id"), Drain: maybe(drains).Draw(t, "drain")}
	})
}

func wills() *rapid.Generator[wire.Will] {
	return rapid.Custom(func(t *rapid.T) wire.Will {
		return wire.Will{QoS: qos().Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"), Topic: texts().Draw(t, "topic"), Payload: octets().Draw(t, "payload"),
			Delay: rapid.Uint32().Draw(t, "delay"), Expiry: rapid.Uint32().Draw(t, "expiry"), HasExpiry: rapid.Bool().Draw(t, "has"), Props: octets().Draw(t, "props")}
	})
}

func traffic() *rapid.Generator[relay.Traffic] {
	return rapid.Custom(func(t *rapid.T) relay.Traffic {
		var r relay.Traffic
		for q := range r.QoS {
			r.QoS[q] = rapid.Uint64().Draw(t, "n")
		}
		r.Bytes = rapid.Uint64().Draw(t, "bytes")
		return r
	})
}

func sessions(messages int) *rapid.Generator[relay.CarriedSession] {
	ports := rapid.Custom(func(t *rapid.T) relay.CarriedPort {
		return relay.CarriedPort{ReceiveMaximum: rapid.Uint16().Draw(t, "rm"), TopicAliasMaximum: rapid.Uint16().Draw(t, "tam"),
			Aliases: table(rapid.Uint16(), texts()).Draw(t, "aliases"), SentAliases: table(texts(), rapid.Uint16()).Draw(t, "sent")}
	})
	ids := rapid.Custom(func(t *rapid.T) relay.CarriedID {
		return relay.CarriedID{ID: rapid.Uint16().Draw(t, "id"), Own: rapid.Bool().Draw(t, "own")}
	})
	return rapid.Custom(func(t *rapid.T) relay.CarriedSession {
		s := relay.CarriedSession{
			Terms: relay.Terms{ClientID: texts().Draw(t, "client"), Username: texts().Draw(t, "user"), Owner: texts().Draw(t, "owner"),
				Subject: texts().Draw(t, "subject"), Expiry: rapid.Uint32().Draw(t, "expiry")},
			Age: spans().Draw(t, "age"), Away: spans().Draw(t, "away"), Seq: rapid.Uint64().Draw(t, "seq"), Seen: rapid.Uint64().Draw(t, "seen"),
			Subs: some(subscriptions()).Draw(t, "subs"), Inbound: some(ids).Draw(t, "inbound"),
			Window: some(deliveries(messages)).Draw(t, "window"), Queue: some(deliveries(messages)).Draw(t, "queue"),
			Will: maybe(wills()).Draw(t, "will"), WillIn: spans().Draw(t, "willIn"), Received: traffic().Draw(t, "received"), Sent: traffic().Draw(t, "sent"),
			Dropped: rapid.Uint64().Draw(t, "dropped"), Port: maybe(ports).Draw(t, "port"),
		}
		s.Current = rapid.IntRange(0, len(s.Window)).Draw(t, "current")
		return s
	})
}

func conns() *rapid.Generator[Conn] {
	origins := rapid.Custom(func(t *rapid.T) listen.CarriedOrigin {
		return listen.CarriedOrigin{Remote: texts().Draw(t, "remote"), Local: texts().Draw(t, "local"), Name: texts().Draw(t, "name")}
	})
	clients := rapid.Custom(func(t *rapid.T) hooks.Carried {
		h := hooks.Carried{
			Identity:  auth.Identity{Name: texts().Draw(t, "name"), Groups: some(texts()).Draw(t, "groups"), ClientIDs: some(texts()).Draw(t, "ids"), Source: texts().Draw(t, "source")},
			Connected: spans().Draw(t, "connected"), Before: relay.PortTraffic{Received: rapid.Uint64().Draw(t, "received"), Sent: rapid.Uint64().Draw(t, "sent")},
		}
		if rapid.Bool().Draw(t, "ends") {
			h.Identity.NotAfter = time.Unix(rapid.Int64Range(1, 1<<40).Draw(t, "at"), 0)
		}
		return h
	})
	return rapid.Custom(func(t *rapid.T) Conn {
		return Conn{Carried: listen.Carried{
			Listener: texts().Draw(t, "listener"), Origin: maybe(origins).Draw(t, "origin"), Age: spans().Draw(t, "age"), Silence: spans().Draw(t, "silence"),
			MaxPacket: rapid.IntRange(0, 1<<28).Draw(t, "max"), ID: texts().Draw(t, "id"), Username: maybe(texts()).Draw(t, "user"),
			Connect: octets().Draw(t, "connect"), Input: octets().Draw(t, "input"), Output: octets().Draw(t, "output"),
			Traffic: listen.Traffic{BytesIn: rapid.Uint64().Draw(t, "in"), BytesOut: rapid.Uint64().Draw(t, "out"), PacketsIn: rapid.Uint64().Draw(t, "pin"), PacketsOut: rapid.Uint64().Draw(t, "pout")},
			Gone:    rapid.Bool().Draw(t, "gone"),
		}, Client: maybe(clients).Draw(t, "client"), User: texts().Draw(t, "mark")}
	})
}

func states() *rapid.Generator[*State] {
	listeners := rapid.Custom(func(t *rapid.T) Listener {
		return Listener{Name: texts().Draw(t, "name"), Type: texts().Draw(t, "type"), Network: texts().Draw(t, "network"), Address: texts().Draw(t, "address"),
			Bound: texts().Draw(t, "bound"), Mode: rapid.Uint32().Draw(t, "mode")}
	})
	return rapid.Custom(func(t *rapid.T) *State {
		s := &State{Program: texts().Draw(t, "program"), Made: spans().Draw(t, "made"), Epoch: texts().Draw(t, "epoch")}
		s.Relay.Messages = some(messages()).Draw(t, "messages")
		n := len(s.Relay.Messages)
		s.Relay.Retained = some(rapid.IntRange(-1, n-1)).Draw(t, "retained")
		s.Relay.Sessions = some(sessions(n)).Draw(t, "sessions")
		s.Listeners = some(listeners).Draw(t, "listeners")
		s.Conns = some(conns()).Draw(t, "conns")
		return s
	})
}

// written is what Write makes of s.
func written(t testing.TB, s *State) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, s); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is written is what is read, whatever it is.
func TestStatesComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := states().Draw(rt, "state")
		got, err := Read(bytes.NewReader(written(t, want)))
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

// Every field of a State is carried: one that nobody writes would be lost without
// a word.
func TestEveryFieldIsCarried(t *testing.T) {
	seen := make(map[string]bool)
	for i := range 200 { // the same each time: by chance some field would be left out now and then
		note(reflect.ValueOf(states().Example(i)).Elem(), "", seen)
	}
	for path, set := range seen {
		if !set {
			t.Errorf("%s is never set in these tests", path)
		}
	}
}

func note(v reflect.Value, path string, seen map[string]bool) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		seen[path] = seen[path] || !v.IsZero()
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			note(v.Field(i), path+"."+v.Type().Field(i).Name, seen)
		}
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			note(v.Elem(), path, seen)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			note(v.Index(i), path, seen)
		}
	default:
		seen[path] = seen[path] || !v.IsZero()
	}
}

// A bit that is wrong anywhere, a byte that is missing, and a version that is not
// known are noticed, and the error says so in words.
func TestDamagedStatesAreRefused(t *testing.T) {
	s := &State{Program: "v1", Listeners: []Listener{{Name: "lan"}}}
	s.Relay.Messages = []relay.CarriedMessage{{Topic: "t", Payload: []byte("payload")}}
	good := written(t, s)
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := Read(bytes.NewReader(bad)); err == nil || strings.Contains(err.Error(), "%!") {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
	for n := range good {
		if _, err := Read(bytes.NewReader(good[:n])); err == nil || strings.Contains(err.Error(), "%!") {
			t.Fatalf("%d bytes of %d: %v", n, len(good), err)
		}
	}
	next := bytes.Clone(good)
	binary.LittleEndian.PutUint32(next[len(magic):], Format+1)
	if _, err := Read(bytes.NewReader(next)); !errors.Is(err, ErrVersion) {
		t.Errorf("next version: %v", err)
	}
}

// enclosed is body with a header that is right.
func enclosed(body []byte) []byte {
	sum := sha256.Sum256(body)
	b := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[len(magic):], Format)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(body)))
	return append(append(b, sum[:]...), body...)
}

// FuzzRead: whatever follows a header that is right is refused, or is a State
// that can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add(written(f, &State{Program: "v1", Made: 5, Listeners: []Listener{{Name: "lan", Address: ":1883"}},
		Conns: []Conn{{Carried: listen.Carried{ID: "c", Connect: []byte{1}, Output: []byte("rest")}, Client: &hooks.Carried{}}},
		Relay: relay.Carried{Messages: []relay.CarriedMessage{{Topic: "t"}}, Sessions: []relay.CarriedSession{{
			Subs: []relay.Subscription{{Filter: "#"}}, Window: []relay.CarriedDelivery{{Seq: 1}}, Port: &relay.CarriedPort{SentAliases: map[string]uint16{"t": 1}}}}},
	})[headerSize:])
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Read(bytes.NewReader(enclosed(body)))
		if err != nil {
			return
		}
		again, err := Read(bytes.NewReader(written(t, s)))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%v: %+v\nagain %+v", err, s, again)
		}
	})
}
