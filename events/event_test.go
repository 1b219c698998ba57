package events_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"pgregory.net/rapid"
)

// at is a time with a zone and trailing zeros, both of which must not show.
func at() time.Time {
	return time.Date(2026, 3, 1, 13, 4, 5, 120_000_000, time.FixedZone("CET", 3600))
}

// encodings pairs data with the JSON that users' tools rely on.
func encodings() map[string]struct {
	event events.Event
	json  string
} {
	e := func(t events.Type, source string, data any) events.Event {
		return events.Event{ID: "d6a1", Type: t, Source: source, Time: at(), Data: data}
	}
	const head = `{"id":"d6a1","type":`
	const stamp = `"timestamp":"2026-03-01T12:04:05.120000000Z","data":`
	return map[string]struct {
		event events.Event
		json  string
	}{
		"connection": {
			e(events.Connection, "dev1", events.ConnectionData{ClientID: "dev1", Username: "u", Remote: "10.0.0.7:51234", Listener: "tcp", Protocol: "3.1.1", KeepAlive: 60, CleanStart: true, SessionExpiry: 4294967295}),
			head + `"connection","source":"dev1",` + stamp + `{"clientId":"dev1","username":"u","remote":"10.0.0.7:51234","listener":"tcp","protocol":"3.1.1","keepAlive":60,"cleanStart":true,"sessionPresent":false,"sessionExpiry":4294967295}}`,
		},
		"disconnection": {
			e(events.Disconnection, "dev1", events.DisconnectionData{ClientID: "dev1", Remote: "r", Listener: "tcp", Protocol: "5", Reason: "tcp_closed", Error: "EOF", Duration: 1500 * time.Millisecond, Received: 7, Sent: 8}),
			head + `"disconnection","source":"dev1",` + stamp + `{"clientId":"dev1","remote":"r","listener":"tcp","protocol":"5","reason":"tcp_closed","error":"EOF","received":7,"sent":8,"duration":1.5}}`,
		},
		"message with text": {
			e(events.Message, "dev1", events.MessageData{ClientID: "dev1", Topic: "a/b", Payload: []byte(`{"t":21.5}`), QoS: 1, Retain: true, Size: 10}),
			head + `"message","source":"dev1",` + stamp + `{"clientId":"dev1","topic":"a/b","payload":"{\"t\":21.5}","qos":1,"retain":true,"size":10}}`,
		},
		"message with bytes": {
			e(events.Message, "dev1", events.MessageData{ClientID: "dev1", Topic: "a/b", Payload: []byte{0xff, 0x00}, Dup: true, QoS: 2, Size: 2}),
			head + `"message","source":"dev1",` + stamp + `{"clientId":"dev1","topic":"a/b","payloadBase64":"/wA=","qos":2,"retain":false,"dup":true,"size":2}}`,
		},
		"message without payload": {
			e(events.Message, "dev1", events.MessageData{ClientID: "dev1", Topic: "a/b", Payload: []byte{}}),
			head + `"message","source":"dev1",` + stamp + `{"clientId":"dev1","topic":"a/b","payload":"","qos":0,"retain":false,"size":0}}`,
		},
		"subscription": {
			e(events.Subscription, "dev1", events.SubscriptionData{ClientID: "dev1", Filter: "a/+", QoS: 1, Shared: "g"}),
			head + `"subscription","source":"dev1",` + stamp + `{"clientId":"dev1","filter":"a/+","qos":1,"shared":"g"}}`,
		},
		"unsubscription": {
			e(events.Unsubscription, "dev1", events.UnsubscriptionData{ClientID: "dev1", Filter: "a/+"}),
			head + `"unsubscription","source":"dev1",` + stamp + `{"clientId":"dev1","filter":"a/+"}}`,
		},
		"drop": {
			e(events.Drop, "dev2", events.DropData{ClientID: "dev2", Publisher: "dev1", Topic: "a/b", QoS: 1, Reason: "queue_full", Count: 3}),
			head + `"drop","source":"dev2",` + stamp + `{"clientId":"dev2","publisher":"dev1","topic":"a/b","qos":1,"reason":"queue_full","count":3}}`,
		},
		"refusal": {
			e(events.Refusal, "dev1", events.RefusalData{ClientID: "dev1", Remote: "r", What: "publish", Topic: "x", Reason: "not_authorized"}),
			head + `"refusal","source":"dev1",` + stamp + `{"clientId":"dev1","remote":"r","what":"publish","topic":"x","reason":"not_authorized"}}`,
		},
		"slow": {
			e(events.Slow, "dev1", events.SlowData{ClientID: "dev1", State: events.SlowBegins, Queued: 3, Pending: 70, Waited: 5.5}),
			head + `"slow","source":"dev1",` + stamp + `{"clientId":"dev1","state":"slow","queued":3,"pending":70,"waited":5.5,"lasted":0}}`,
		},
		"system": {
			e(events.System, events.Source, events.SystemData{What: "started"}),
			head + `"system","source":"edgebroker",` + stamp + `{"what":"started"}}`,
		},
		"no data": {
			e(events.Bridge, events.Source, nil),
			head + `"bridge","source":"edgebroker",` + stamp + `null}`,
		},
		"custom": {
			e("users.created", "dev1", json.RawMessage(`{"n":12345678901234567890}`)),
			head + `"users.created","source":"dev1",` + stamp + `{"n":12345678901234567890}}`,
		},
	}
}

func TestEventJSON(t *testing.T) {
	for name, c := range encodings() {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(c.event)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.json {
				t.Errorf("encoded\n %s\nwant\n %s", got, c.json)
			}
			var back events.Event
			if err := json.Unmarshal([]byte(c.json), &back); err != nil {
				t.Fatal(err)
			}
			want := c.event
			want.Time = want.Time.UTC()
			if !reflect.DeepEqual(back, want) {
				t.Errorf("decoded\n %#v\nwant\n %#v", back, want)
			}
		})
	}
}

func TestEventJSONRejects(t *testing.T) {
	for name, in := range map[string]string{
		"no object":                  `[]`,
		"a time that is none":        `{"id":"1","type":"system","source":"s","timestamp":"yesterday","data":null}`,
		"data of the wrong shape":    `{"id":"1","type":"connection","source":"s","timestamp":"2026-03-01T12:04:05Z","data":[1]}`,
		"a payload in both forms":    `{"id":"1","type":"message","source":"s","timestamp":"2026-03-01T12:04:05Z","data":{"payload":"x","payloadBase64":"eA=="}}`,
		"a payload that is not text": `{"id":"1","type":"message","source":"s","timestamp":"2026-03-01T12:04:05Z","data":{"payload":1}}`,
		"a duration that is text":    `{"id":"1","type":"disconnection","source":"s","timestamp":"2026-03-01T12:04:05Z","data":{"duration":"1s"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := events.Event{ID: "before"}
			if err := json.Unmarshal([]byte(in), &e); err == nil {
				t.Fatalf("decoded to %#v, want an error", e)
			}
			if e.ID != "before" {
				t.Errorf("a failed decode changed the event to %#v", e)
			}
		})
	}
}

// Any payload comes back byte for byte, as text or as base64.
func TestMessagePayloadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "payload")
		text, err := json.Marshal(events.MessageData{Topic: "t", Payload: payload, Size: len(payload)})
		if err != nil {
			t.Fatal(err)
		}
		var back events.MessageData
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if string(back.Payload) != string(payload) {
			t.Fatalf("payload %q came back as %q through %s", payload, back.Payload, text)
		}
	})
}

// Durations survive to the nanosecond for any connection shorter than a month.
func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(30*24*time.Hour)).Draw(t, "ns"))
		text, err := json.Marshal(events.DisconnectionData{Duration: d})
		if err != nil {
			t.Fatal(err)
		}
		var back events.DisconnectionData
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if back.Duration != d {
			t.Fatalf("%v came back as %v through %s", d, back.Duration, text)
		}
	})
}

func TestNew(t *testing.T) {
	before := time.Now()
	a := events.New(events.System, events.Source, events.SystemData{What: "x"})
	b := events.New(events.System, events.Source, nil)
	if a.ID == "" || a.ID == b.ID {
		t.Errorf("ids %q and %q, want two different ones", a.ID, b.ID)
	}
	if a.Time.Before(before) || a.Time.After(time.Now()) {
		t.Errorf("time %v is not now", a.Time)
	}
	if a.ID >= b.ID {
		t.Errorf("id %q does not sort before the later %q", a.ID, b.ID)
	}
}
