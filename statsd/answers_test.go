package statsd_test

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

func exampleBalance() statsd.Balance {
	return statsd.Balance{Accounts: []statsd.Account{
		{Name: "copies at QoS 0", In: []statsd.Figure{{Name: "of messages as they came", Count: 1234567}, {Name: "of retained messages", Count: 3}},
			Out: []statsd.Figure{{Name: "sent", Count: 1234560}, {Name: "dropped: slow_consumer", Count: 10}}},
		{Name: "copies at QoS 1 and 2", In: []statsd.Figure{{Name: "of messages as they came", Count: 12}}, Out: []statsd.Figure{{Name: "acknowledged", Count: 10}}, Difference: 2},
	}}
}

func TestWriteAnswers(t *testing.T) {
	for name, v := range map[string]interface{ WriteTable(io.Writer) error }{
		"balance.txt": exampleBalance(),
	} {
		var out bytes.Buffer
		if err := v.WriteTable(&out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

// TestAnswersAreDocumented: every field of the JSON is in the document that
// promises it.
func TestAnswersAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/ANSWERS.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var look func(reflect.Type)
	look = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice, reflect.Pointer, reflect.Map:
			look(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[typ] || typ == reflect.TypeFor[time.Time]() {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && name != "-" && !regexp.MustCompile("`(?:[a-zA-Z]+(?:\\[\\])?\\.)?"+name+"(?:\\[\\])?`").Match(text) {
				t.Errorf("field %s of %v is not documented in docs/ANSWERS.md", name, typ)
			}
			look(f.Type)
		}
	}
	for _, v := range []any{statsd.Balance{}, statsd.Found[statsd.TopicPublishers]{}, statsd.Topics{}, statsd.Retained{}, statsd.Cleared{}, statsd.LogLevel{}, []statsd.Setting{}} {
		look(reflect.TypeOf(v))
	}
}

func exampleAt() time.Time { return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) }

func exampleRetained() statsd.Retained {
	r := statsd.Retained{Topic: "plant/1/\x1b[2Jtemp", Client: "sensor-4", Since: exampleAt().Add(-90 * time.Minute), Expires: 60, QoS: 1}
	r.SetPayload([]byte("21.5"), true)
	return r
}

func examplePublishers() []statsd.TopicPublishers {
	r := exampleRetained()
	r.Payload = nil
	return []statsd.TopicPublishers{
		{Topic: r.Topic, Retained: &r, Publishers: []statsd.Publication{
			{Client: "sensor-4", Username: "plant", Remote: "192.168.1.14:51544", Time: r.Since, Size: 4, QoS: 1},
			{Client: "evil\x1b[2J", Time: exampleAt().Add(-3 * time.Hour), Size: 1 << 20},
		}},
		{Topic: "own", Publishers: []statsd.Publication{{Size: 2, QoS: 2}}},
	}
}

func exampleTopics() statsd.Topics {
	return statsd.Topics{Messages: 190112, Bytes: 129 << 20, Missed: 12, Busiest: []statsd.Busy{
		{Topic: "plant/1/vibration", Messages: 120000, Bytes: 117 << 20}, {Topic: "evil\x1b[2J", Messages: 8100, Bytes: 10 << 20, Error: 1111},
	}}
}

// TestWriteLists holds what people see of lists to golden files.
func TestWriteLists(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"publishers.txt": func(w io.Writer) error { return statsd.WritePublishers(w, examplePublishers(), exampleAt()) },
		"retained.txt": func(w io.Writer) error {
			return statsd.WriteRetained(w, []statsd.Retained{exampleRetained(), {Topic: "old"}}, exampleAt())
		},
		"topics.txt": func(w io.Writer) error { return exampleTopics().WriteTable(w, false, nil) },
		"topics_watch.txt": func(w io.Writer) error {
			return exampleTopics().WriteTable(w, true, func(string) (float64, float64) { return 2.5, 2048 })
		},
		"topics_none.txt": func(w io.Writer) error { return statsd.Topics{}.WriteTable(w, true, nil) },
	} {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

func TestSetPayload(t *testing.T) {
	long := strings.Repeat("x", statsd.MaxPayload-1) + "\u20ac"
	for name, c := range map[string]struct {
		in   string
		text string
		raw  int
		cut  bool
	}{
		"text":                   {"21", "21", 0, false},
		"nothing":                {"", "", 0, false},
		"bytes":                  {"\xff\x00", "", 2, false},
		"cut between characters": {long, long[:statsd.MaxPayload-1], 0, true},
		"cut bytes":              {"\xff" + long, "", statsd.MaxPayload, true},
	} {
		var r statsd.Retained
		r.SetPayload([]byte(c.in), true)
		text := ""
		if r.Payload != nil {
			text = *r.Payload
		}
		if r.Size != len(c.in) || text != c.text || len(r.PayloadBase64) != c.raw || (r.Payload == nil) == (r.PayloadBase64 == nil) || r.Cut != c.cut {
			t.Errorf("%s: size %d, text of %d, %d bytes, cut %v", name, r.Size, len(text), len(r.PayloadBase64), r.Cut)
		}
	}
}
