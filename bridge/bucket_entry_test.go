package bridge

import (
	"hash/maphash"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
)

// What a bucket has is read as whoever has put it there meant it, and nothing that
// others write into headers makes it newer than when it was stored.
func TestBucketEntry(t *testing.T) {
	b := &mirror{s: &natsSession{up: &Uplink{cfg: Config{ClientID: "gw", Origin: "node"}}}, memory: &mirrorMemory{seed: maphash.MakeSeed()}}
	stored := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text := func(after time.Duration) string { return stored.Add(after).Format(time.RFC3339Nano) }
	for _, c := range []struct {
		name    string
		h       nats.Header
		data    string
		own     bool
		gone    bool
		stamp   time.Duration // after stored
		expires time.Duration // after stored; 0: never
	}{
		{"put by a program", nil, "x", false, false, 0, 0},
		{"empty", nil, "", false, true, 0, 0},
		{"deleted", nats.Header{"KV-Operation": {"DEL"}}, "", false, true, 0, 0},
		{"purged", nats.Header{"KV-Operation": {"PURGE"}}, "", false, true, 0, 0},
		{"marked by the server", nats.Header{"Nats-Marker-Reason": {"MaxAge"}}, "", false, true, 0, 0},
		{"an operation that is none", nats.Header{"KV-Operation": {"PUT"}}, "x", false, false, 0, 0},
		{"own", nats.Header{"Edgebroker-Gateway": {"gw"}}, "x", true, false, 0, 0},
		{"of another gateway", nats.Header{"Edgebroker-Gateway": {"gw2"}}, "x", false, false, 0, 0},
		{"published before", nats.Header{"Edgebroker-Published": {text(-time.Hour)}}, "x", false, false, -time.Hour, 0},
		{"published after it was stored", nats.Header{"Edgebroker-Published": {text(time.Hour)}}, "x", false, false, 0, 0},
		{"published at no time", nats.Header{"Edgebroker-Published": {"yesterday"}}, "x", false, false, 0, 0},
		{"expires", nats.Header{"Mqtt-Expiry": {"120"}}, "x", false, false, 0, 2 * time.Minute},
		{"has expired", nats.Header{"Mqtt-Expiry": {"60"}}, "x", false, true, 0, time.Minute},
		{"expires, and took long to be stored", nats.Header{"Mqtt-Expiry": {"120"}, "Edgebroker-Expires": {text(90 * time.Second)}}, "x", false, false, 0, 90 * time.Second},
		{"never expires", nats.Header{"Mqtt-Expiry": {"0"}}, "x", false, false, 0, 0},
		{"expires at no time", nats.Header{"Mqtt-Expiry": {"soon"}}, "x", false, false, 0, 0},
	} {
		e := b.entry(7, stored, c.h, []byte(c.data), stored.Add(time.Minute))
		var expires time.Time
		if c.expires != 0 {
			expires = stored.Add(c.expires)
		}
		if e.rev != 7 || e.own != c.own || e.gone != c.gone || !e.stamp.Equal(stored.Add(c.stamp)) || !e.expires.Equal(expires) {
			t.Errorf("%s: got %+v", c.name, e)
		}
	}

	// The same said in another way is the same, and nothing else is.
	value := func(h nats.Header, data string) uint64 { return b.entry(1, stored, h, []byte(data), stored).digest }
	same := value(nats.Header{"Mqtt-Content-Type": {"text"}, "Mqtt-User-Property": {"a=b", "c=d"}}, "x")
	if value(nats.Header{"Mqtt-Content-Type": {"t%65xt"}, "Mqtt-User-Property": {"%61=b", "c=d"}, "Mqtt-Qos": {"0"}}, "x") != same {
		t.Error("what is written otherwise counts as another")
	}
	if own := value(nats.Header{"Edgebroker-Gateway": {"gw"}, "Mqtt-Content-Type": {"text"}, "Mqtt-User-Property": {"a=b", "c=d", "edgebroker-via=node"}}, "x"); own != same {
		t.Error("the mark of this gateway counts")
	}
	said := value(nats.Header{"Mqtt-User-Property": {"edgebroker-via=node"}}, "x")
	if own := value(nats.Header{"Edgebroker-Gateway": {"gw"}, "Mqtt-User-Property": {"edgebroker-via=node", "edgebroker-via=node"}}, "x"); own != said {
		t.Error("the mark of this gateway counts behind one that the client has made")
	}
	for name, other := range map[string]uint64{
		"payload":   value(nats.Header{"Mqtt-Content-Type": {"text"}, "Mqtt-User-Property": {"a=b", "c=d"}}, "y"),
		"order":     value(nats.Header{"Mqtt-Content-Type": {"text"}, "Mqtt-User-Property": {"c=d", "a=b"}}, "x"),
		"no type":   value(nats.Header{"Mqtt-User-Property": {"a=b", "c=d"}}, "x"),
		"format":    value(nats.Header{"Mqtt-Content-Type": {"text"}, "Mqtt-Payload-Format": {"1"}, "Mqtt-User-Property": {"a=b", "c=d"}}, "x"),
		"way of it": value(nats.Header{"Mqtt-Content-Type": {"text"}, "Mqtt-User-Property": {"a=b", "c=d", "edgebroker-via=node"}}, "x"),
	} {
		if other == same {
			t.Errorf("another %s counts as the same", name)
		}
	}
}

// Whatever properties a client makes up, what the bucket has of its message counts
// as the same: else it would be put there again and again.
func TestBucketDigest(t *testing.T) {
	b := &mirror{s: &natsSession{up: &Uplink{cfg: Config{ClientID: "gw", Origin: "node"}}}, memory: &mirrorMemory{seed: maphash.MakeSeed()}}
	text := rapid.SampledFrom([]string{"", "a", " a ", "a\nb\r", "é%41", "x/+/#", "\x7f", ":", "edgebroker-via", "node", "=&", strings.Repeat("l", 70000)})
	rapid.Check(t, func(t *rapid.T) {
		var p packets.Properties
		if rapid.Bool().Draw(t, "format") {
			one := byte(1)
			p.PayloadFormat = &one
		}
		short := func(name string) string { s := text.Draw(t, name); return s[:min(len(s), 65535)] }
		p.ContentType, p.ResponseTopic = short("type"), short("response")
		if rapid.Bool().Draw(t, "correlation") {
			p.CorrelationData = rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "data")
		}
		for range rapid.IntRange(0, 3).Draw(t, "users") {
			p.User = append(p.User, packets.User{Key: short("key"), Value: short("value")})
		}
		payload, props := rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "payload"), p.Pack(packets.PUBLISH)
		want, bad := b.digest(payload, props)
		if bad {
			t.Fatal("it cannot be read")
		}
		d := relay.Delivery{Message: &relay.Message{Topic: "t", Payload: payload, Props: props, Publisher: short("client")}}
		h, err := headers("gw", d, true, b.s.up.cfg.mark(props), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		raw := "NATS/1.0\r\n"
		for key, values := range h {
			for _, v := range values {
				raw += key + ": " + v + "\r\n"
			}
		}
		if h, err = nats.DecodeHeadersMsg([]byte(raw + "\r\n")); err != nil {
			t.Fatal(err)
		}
		e := b.entry(1, time.Now(), h, payload, time.Now())
		if !e.own || e.gone || e.digest != want {
			t.Fatalf("it is %+v there", e)
		}
		out := e.publish("t", &Rule{QoS: 1}, time.Now())
		if again, bad := b.digest(out.Payload, out.Props); bad || again != want {
			t.Fatalf("it came back as %q", out.Props)
		}
	})
}
