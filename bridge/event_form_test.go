package bridge

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Each topic has a name of its own, which a NATS server takes and of which it is
// made again; and the subjects of a filter include those of all topics that it
// matches.
func TestEventNames(t *testing.T) {
	for _, c := range []struct{ topic, levels, whole string }{
		{"plant/1/temp", "topic.plant.1.temp", "topic.plant/1/temp"},
		{"users", "topic.users", "topic.users"},
		{"v1.2/x y", "topic.v1//2.x%20y", "topic.v1%2E2/x%20y"},
		{"a//b/", "topic.a./.b./", "topic.a//b/"},
		{"50%/%2E", "topic.50%.%2E", "topic.50%/%252E"},
		{"%20*>", "topic.%2520%2A%3E", "topic.%2520%2A%3E"},
	} {
		if got := LevelNames.subject(c.topic); got != c.levels {
			t.Errorf("%q is %q by levels; want %q", c.topic, got, c.levels)
		}
		if got := SingleNames.subject(c.topic); got != c.whole {
			t.Errorf("%q is %q as a whole; want %q", c.topic, got, c.whole)
		}
	}
	topics := rapid.StringMatching(`[ab./%2E *>+#é$\t-]{1,12}`).Filter(func(s string) bool { return wire.ValidTopicString(s) == nil })
	filters := rapid.SampledFrom([]string{"#", "a/#", "+", "a/+/b", "a", "a.b/#", "+/#", "/"})
	for _, names := range []EventNames{LevelNames, SingleNames} {
		rapid.Check(t, func(t *rapid.T) {
			topic := topics.Draw(t, "topic")
			s := names.subject(topic)
			if back, err := names.topic(s); err != nil || back != topic {
				t.Fatalf("%q became %q and that %q, %v", topic, s, back, err)
			}
			if strings.ContainsAny(s, " \t*>") || strings.Contains(s, "..") || strings.HasSuffix(s, ".") {
				t.Fatalf("%q became %q, which is no subject", topic, s)
			}
			if names == SingleNames && strings.Count(s, ".") != 1 {
				t.Fatalf("%q became %q, which is more than one token", topic, s)
			}
			if f := filters.Draw(t, "filter"); wire.MatchTopic(f, topic) && !covers(names.subjects(f), s) {
				t.Fatalf("%q matches %q, but %q is none of %q", topic, f, s, names.subjects(f))
			}
		})
		rapid.Check(t, func(t *rapid.T) {
			s := rapid.StringMatching(`(topic\.)?[ab./%2E0*+#-]{0,9}`).Draw(t, "subject")
			if topic, err := names.topic(s); err == nil && names.subject(topic) != s {
				t.Fatalf("%q became %q, and that %q", s, topic, names.subject(topic))
			}
		})
	}
}

func delivery(payload []byte, publisher string, qos byte) relay.Delivery {
	return relay.Delivery{Message: &relay.Message{Topic: "t", Payload: payload, Publisher: publisher}, QoS: qos}
}

// asSent is what eventBody sends, and the headers that go with it.
func asSent(t interface{ Fatal(...any) }, payload []byte) (nats.Header, []byte) {
	d := delivery(payload, "pump-7", 1)
	h, err := headers("gw", d, false, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	body, added, err := eventBody("gw", "t", "an id", d, false, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if added != "" {
		h[headerAdded] = []string{added}
	}
	return h, body
}

// payloads are any bytes, and those that look like events in particular.
func payloads() *rapid.Generator[[]byte] {
	return rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Custom(func(t *rapid.T) []byte { return []byte(rapid.String().Draw(t, "text")) }),
		rapid.Custom(func(t *rapid.T) []byte {
			fields := rapid.SliceOfN(rapid.SampledFrom([]string{`"type":"users.created"`, `"type":"message"`, `"type":"connection"`, `"type":7`, `"type":"*"`,
				`"data":{"a": 1.0}`, `"data":null`, `"id":"x"`, `"source":"me"`, `"timestamp":5`, `"clientId":"else"`, `"Type":"x.y"`, `"data":"}"`, `"gateway":{}`}), 0, 4).Draw(t, "fields")
			if rapid.Bool().Draw(t, "an event") {
				fields = rapid.Permutation(append(fields, `"type": "users.created"`, `"data":{"a": 1.0}`)).Draw(t, "order")
			}
			edge := rapid.SampledFrom([]string{"", " ", "\n", "\r\n\t", "x"})
			return []byte(edge.Draw(t, "before") + "{" + strings.Join(fields, rapid.SampledFrom([]string{",", " , ", ",\n"}).Draw(t, "between")) + "}" + edge.Draw(t, "behind"))
		}))
}

// Any payload comes through between two gateways byte by byte, and what is between
// them is an event in JSON, whoever publishes what.
func TestEventPayloadsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := payloads().Draw(t, "payload")
		h, body := asSent(t, payload)
		var e struct {
			ID, Type, Source, Timestamp, ClientID, Gateway string
			Data                                           json.RawMessage
		}
		fields, err := object(body)
		if err != nil {
			t.Fatalf("%q became %q, %v", payload, body, err)
		}
		for key, to := range map[string]*string{"id": &e.ID, "type": &e.Type, "source": &e.Source, "clientId": &e.ClientID} {
			if err := json.Unmarshal(fields[key], to); err != nil || *to == "" {
				t.Fatalf("%s of %q, made of %q: %q, %v", key, body, payload, *to, err)
			}
		}
		if e.ClientID != "pump-7" || fields["timestamp"] == nil || fields["data"] == nil || fields["gateway"] == nil {
			t.Fatalf("%q, made of %q", body, payload)
		}
		if events.Type(e.Type).BuiltIn() && e.Type != "message" || e.Type == "*" {
			t.Fatalf("a payload passes for an event of the broker: %q", body)
		}
		out, back, err := eventMessage(h, body)
		if err != nil || !bytes.Equal(back, payload) {
			t.Fatalf("%q became %q and that %q, %v", payload, body, back, err)
		}
		if out.Get(headerQoS) != "1" {
			t.Fatalf("headers %v", out)
		}
	})
}

// What components publish, and what of it reaches a device.
func TestEventMessages(t *testing.T) {
	for _, c := range []struct {
		name, body, payload, source string
		header, want                nats.Header
		err                         string
	}{
		{name: "text", body: `{"type":"message","source":"app","data":{"payload":"on"}}`, payload: "on", source: "app"},
		{name: "data is text", body: `{"type":"message","data":"o\"n"}`, payload: `o"n`, source: "nats"},
		{name: "a value", body: `{"type":"message","source":"app","data":{"payload":{"rpm": 12.0}}}`, payload: `{"rpm": 12.0}`, source: "app"},
		{name: "null", body: `{"type":"message","source":"app","data":{"payload":null}}`, payload: `null`, source: "app"},
		{name: "bytes", body: `{"type":"message","clientId":"c1","data":{"payloadBase64":"AP8="}}`, payload: "\x00\xff", source: "c1"},
		{name: "bad base64", body: `{"type":"message","data":{"payloadBase64":"A"}}`, payload: `{"type":"message","data":{"payloadBase64":"A"}}`, source: "nats"},
		{name: "both", body: `{"type":"message","data":{"payload":"a","payloadBase64":""}}`, payload: `{"type":"message","data":{"payload":"a","payloadBase64":""}}`, source: "nats"},
		{name: "a type of its own", body: ` {"type":"users.created","source":"app","data":{"n":1}} `, payload: ` {"type":"users.created","source":"app","data":{"n":1}} `, source: "app"},
		{name: "other data of a message", body: `{"type":"message","source":"app","data":{"text":"hi"}}`, payload: `{"type":"message","source":"app","data":{"text":"hi"}}`, source: "app"},
		{name: "no data", body: `{"type":"message"}`, payload: `{"type":"message"}`, source: "nats"},
		{name: "qos and retain", body: `{"type":"message","data":{"payload":"x","qos":1,"retain":true}}`, payload: "x", source: "nats", want: nats.Header{headerQoS: {"1"}, headerRetain: {"1"}}},
		{name: "wrong qos", body: `{"type":"message","data":{"payload":"x","qos":"1","retain":1}}`, payload: "x", source: "nats", want: nats.Header{headerQoS: nil, headerRetain: nil}},
		{name: "a header counts", body: `{"type":"message","data":{"payload":"x","qos":0,"retain":true}}`, payload: "x", source: "nats",
			header: nats.Header{headerQoS: {"1"}, headerGateway: {"other"}}, want: nats.Header{headerQoS: {"1"}, headerRetain: nil}},
		{name: "an addition that is none", body: `{"type":"a.b","data":1}`, payload: `{"type":"a.b","data":1}`, source: "nats", header: nats.Header{headerAdded: {"3-99999999999"}}},
		{name: "an addition that breaks it", body: `{"type":"a.b","data":1}`, payload: `{"type":"a.b","data":1}`, source: "nats", header: nats.Header{headerAdded: {"2-22"}}},
		{name: "nothing", err: "not a JSON object"},
		{name: "no object", body: `["message"]`, err: "not a JSON object"},
		{name: "half of one", body: `{"type":"message"`, err: "not a JSON object"},
		{name: "two", body: `{"type":"message"}{}`, err: "not a JSON object"},
		{name: "null object", body: `null`, err: "not a JSON object"},
		{name: "deep", body: strings.Repeat("[", 100_000), err: "not a JSON object"},
		{name: "no type", body: `{"data":"x"}`, err: "no type"},
		{name: "empty type", body: `{"type":"","data":"x"}`, err: "no type"},
		{name: "type is a number", body: `{"type":7}`, err: "type is not text"},
		{name: "source is an object", body: `{"type":"a","source":{}}`, err: "source is not text"},
		{name: "long source", body: `{"type":"a","source":"` + strings.Repeat("x", maxName+1) + `"}`, err: "source is too long"},
		{name: "source with controls", body: `{"type":"a","source":"a\u0000b"}`, err: "control characters"},
		{name: "client is a list", body: `{"type":"a","clientId":[]}`, err: "clientId is not text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, payload, err := eventMessage(c.header, []byte(c.body))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v; want %q", err, c.err)
				}
				return
			}
			if err != nil || string(payload) != c.payload {
				t.Fatalf("payload %q, %v; want %q", payload, err, c.payload)
			}
			out := publication(h, payload, 2)
			if got := relay.SourceOf(out.Props); got != c.source {
				t.Errorf("source %q; want %q", got, c.source)
			}
			for k, want := range c.want {
				if strings.Join(h[k], ",") != strings.Join(want, ",") {
					t.Errorf("%s: %q; want %q", k, h[k], want)
				}
			}
		})
	}
}

// Nobody but the publisher itself is said to be the source, whatever user
// properties say.
func TestEventSource(t *testing.T) {
	props := wire.AppendUserProperty(nil, wire.UserProperty{Key: relay.SourceProperty, Value: "somebody"})
	for publisherID, want := range map[string]string{"pump-7": "pump-7", "": events.Source, SessionPrefix + "up": "somebody"} {
		if got := publisher(&relay.Message{Publisher: publisherID, Props: props}); got != want {
			t.Errorf("%q has sent it, says an event of %q; want %q", got, publisherID, want)
		}
	}
	list := withSource([]string{"a=b", relay.SourceProperty + "=forged", "c=d"}, "me & you")
	if strings.Join(list, " ") != "a=b c=d "+relay.SourceProperty+"=me+%26+you" {
		t.Errorf("%q", list)
	}
}

func FuzzEventMessage(f *testing.F) {
	f.Add([]byte(`{"type":"message","data":{"payload":"x"}}`), "")
	f.Add([]byte(`{"type":"a.b","data":1,"id":"x"}`), "22-31")
	f.Fuzz(func(t *testing.T, body []byte, added string) {
		h, payload, err := eventMessage(nats.Header{headerAdded: {added}}, body)
		if err != nil {
			return
		}
		if !utf8.ValidString(h[headerUser][0]) || len(payload) > len(body)+4 && len(payload) > 3*len(body) {
			t.Fatalf("%q became %q, %v", body, payload, h)
		}
	})
}

func FuzzControlEvent(f *testing.F) {
	f.Add([]byte(`{"clientId":"c1","topic":"users","timestamp":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"type":"connection","source":"x","data":{"clientId":"c1","protocol":"5"}}`))
	c := control{up: &Uplink{cfg: Config{Name: "up"}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, subject := range []string{connectSubject, disconnectSubject} {
			e, err := c.event(&nats.Msg{Subject: subject, Data: body})
			if err != nil {
				continue
			}
			if e.About() == "" || ours(&e) || !e.Type.BuiltIn() {
				t.Fatalf("%q became %+v", body, e)
			}
			if _, err := json.Marshal(e); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What somebody says of who comes and goes.
func TestControlEvents(t *testing.T) {
	c := control{up: &Uplink{cfg: Config{Name: "up"}}}
	for _, x := range []struct{ name, body, client, source, err string }{
		{"fields alone", `{"clientId":"c1","topic":"users","timestamp":"2026-01-01T00:00:00.000Z"}`, "c1", "c1", ""},
		{"an event", `{"id":"1","type":"connection","source":"app","timestamp":1,"data":{"clientId":"c2"}}`, "c2", "app", ""},
		{"an event that names it outside", `{"type":"connection","data":{},"clientId":"c3"}`, "c3", "c3", ""},
		{"a source alone", `{"type":"connection","source":"app","data":7}`, "app", "app", ""},
		{"nobody", `{"type":"connection"}`, "", "", "names no client"},
		{"a number", `{"clientId":5}`, "", "", "clientId is not text"},
		{"a name with controls", `{"clientId":"a\u001b[2J"}`, "", "", "control characters"},
		{"no JSON", `hello`, "", "", "not a JSON object"},
		{"nothing", ``, "", "", "not a JSON object"},
		{"huge", `{"clientId":"` + strings.Repeat("x", controlBytes) + `"}`, "", "", "longer than"},
	} {
		e, err := c.event(&nats.Msg{Subject: connectSubject, Data: []byte(x.body)})
		if x.err != "" {
			if err == nil || !strings.Contains(err.Error(), x.err) {
				t.Errorf("%s: error %v; want %q", x.name, err, x.err)
			}
			continue
		}
		d, ok := e.Data.(events.ConnectionData)
		if err != nil || !ok || d.ClientID != x.client || e.Source != x.source || d.Bridge != "up" || d.Protocol != "nats" {
			t.Errorf("%s: %+v, %v", x.name, e, err)
		}
	}
	e, err := c.event(&nats.Msg{Subject: disconnectSubject, Data: []byte(`{"source":"c","data":{"clientId":"c","protocol":"3.1.1","reason":"keepalive_timeout"},"gateway":"gw2"}`)})
	want := events.DisconnectionData{ClientID: "c", Protocol: "3.1.1", Reason: "keepalive_timeout", Bridge: "up", Gateway: "gw2"}
	if err != nil || e.Data != any(want) {
		t.Errorf("%+v, %v", e, err)
	}
	for word, want := range map[string]string{"": "normal", "a b": "normal", "<x>": "normal", strings.Repeat("a", 33): "normal", "kicked": "kicked"} {
		if got := reasonWord(word); got != want {
			t.Errorf("reason %q became %q", word, got)
		}
	}
}

// What a message costs more in event mode, on its way out.
func BenchmarkEventBody(b *testing.B) {
	for name, payload := range map[string]string{"text": `{"c":21.4}`, "event": `{"type":"users.created","data":{"name":"Jane"}}`, "bytes": "\xff\x00\x01\x02\x03\x04"} {
		b.Run(name, func(b *testing.B) {
			d := delivery([]byte(payload), "pump-7", 1)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := eventBody("gw", "plant/1/temp", "an id", d, false, time.Unix(0, 0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
