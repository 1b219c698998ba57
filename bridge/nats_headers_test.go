package bridge

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// onTheLine is what NATS makes of headers that it carries.
func onTheLine(t *rapid.T, h nats.Header) nats.Header {
	var b bytes.Buffer
	b.WriteString("NATS/1.0\r\n")
	if err := http.Header(h).Write(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\r\n")
	back, err := nats.DecodeHeadersMsg(b.Bytes())
	if err != nil {
		t.Fatalf("%v: %q", err, b.Bytes())
	}
	return back
}

// What a message says besides its topic and payload is in its headers, and made
// of them again as it was.
func TestHeadersReversible(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab%20=&+ \t\n\r\x7f\x01é:")), 0, 10, -1)
	rapid.Check(t, func(t *rapid.T) {
		var props []byte
		if rapid.Bool().Draw(t, "utf8") {
			props = append(props, 0x01, 1)
		}
		add := func(id byte, s string) {
			props = append(append(props, id, 0, byte(len(s))), s...)
		}
		if s := text.Draw(t, "content type"); s != "" {
			add(0x03, s)
		}
		if s := text.Draw(t, "response topic"); s != "" && !strings.ContainsAny(s, "+#") {
			add(0x08, s)
		}
		if c := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "correlation data"); len(c) > 0 {
			add(0x09, string(c))
		}
		for range rapid.IntRange(0, 4).Draw(t, "user properties") {
			props = wire.AppendUserProperty(props, wire.UserProperty{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")})
		}
		d := relay.Delivery{Message: &relay.Message{Topic: "t", Payload: []byte("p"), Props: props, Publisher: text.Draw(t, "client")},
			QoS: byte(rapid.IntRange(0, 2).Draw(t, "qos")), Expiry: rapid.Uint32().Draw(t, "expiry")}
		retain := rapid.Bool().Draw(t, "retain")
		h, err := headers("gateway", d, retain, props, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got := publication(onTheLine(t, h), d.Message.Payload, 2)
		if !bytes.Equal(got.Props, props) {
			t.Fatalf("properties\n%q; want\n%q\nheaders %q", got.Props, props, h)
		}
		if got.QoS != d.QoS || got.Retain != retain || got.Expiry != d.Expiry || got.HasExpiry != (d.Expiry > 0) {
			t.Fatalf("got %+v", got)
		}
	})
}

// Whatever headers somebody writes, what is made of them is a valid PUBLISH.
func FuzzPublication(f *testing.F) {
	f.Add("1", "1", "text", "a/b", "YWJj", "k=v", []byte("x"))
	f.Add("9", "x", "%zz", "a/+", "-", "%", []byte{0xff})
	f.Add("-1", "1", "%00", "", "", "=%ff", []byte{})
	f.Fuzz(func(t *testing.T, qos, format, content, response, correlation, user string, data []byte) {
		out := publication(nats.Header{headerQoS: {qos}, headerFormat: {format}, headerExpiry: {qos}, headerContentType: {content},
			headerResponse: {response}, headerCorrelation: {correlation}, headerUser: {user, user}}, data, 1)
		out.Topic = []byte("t")
		frame, _, err := wire.Scan(wire.AppendPublish(nil, &out, 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.DecodePublish(frame, wire.V5); err != nil {
			t.Fatal(err)
		}
	})
}

// An identifier is the same for the same message at the same place in the queue,
// and for nothing else.
func TestMessageID(t *testing.T) {
	d := relay.Delivery{Seq: 7, Message: &relay.Message{Topic: "t", Payload: []byte("p"), Props: []byte{1, 1}}}
	id := func(change func(*relay.Delivery, *relay.Message)) string {
		e, m := d, &relay.Message{Topic: d.Message.Topic, Payload: d.Message.Payload, Props: d.Message.Props}
		e.Message = m
		change(&e, m)
		return messageID("gw", "epoch", "up", e)
	}
	was := id(func(*relay.Delivery, *relay.Message) {})
	if !strings.HasPrefix(was, "gw/epoch/7-") {
		t.Errorf("got %s", was)
	}
	if got := id(func(e *relay.Delivery, _ *relay.Message) { e.Dup, e.PacketID, e.Expiry = true, 9, 3 }); got != was {
		t.Errorf("got %s; want %s", got, was)
	}
	for name, change := range map[string]func(*relay.Delivery, *relay.Message){
		"place":      func(e *relay.Delivery, _ *relay.Message) { e.Seq++ },
		"topic":      func(_ *relay.Delivery, m *relay.Message) { m.Topic = "tp"; m.Payload = nil },
		"payload":    func(_ *relay.Delivery, m *relay.Message) { m.Payload = []byte("q") },
		"properties": func(_ *relay.Delivery, m *relay.Message) { m.Props = nil },
	} {
		if id(change) == was {
			t.Errorf("another %s has the same identifier", name)
		}
	}
	if messageID("gw", "epoch", "other", d) == was || messageID("gw", "another", "up", d) == was {
		t.Error("another uplink, or store, has the same identifier")
	}
}

// Subjects that are part of another are not asked for twice.
func TestRulesSubjects(t *testing.T) {
	rs := Rules{{Direction: In, Filter: "a/#"}, {Direction: Both, Filter: "a/b"}, {Direction: In, Filter: "a/+"}, {Direction: Out, Filter: "z"}, {Direction: In, Filter: "+/x"}}
	if got := strings.Join(rs.subjects(NoEvents), " "); got != "*.x a a.>" {
		t.Errorf("got %s", got)
	}
	if !subjectsOverlap("*.x", "a.>") || subjectsOverlap("a", "a.>") || subjectsOverlap("a.b", "a.c") || !subjectsOverlap("a.*", "*.b") || !subjectsOverlap(">", "a") {
		t.Error("subjects overlap otherwise")
	}
}
