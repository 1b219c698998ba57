package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDifference(t *testing.T) {
	a := Message{Topic: "t", Payload: "a", QoS: 1}
	b := Message{Topic: "t", Payload: "b", QoS: 1}
	with := func(change func(*Message)) Message { m := a; change(&m); return m }
	for _, c := range []struct {
		name      string
		got, want []Message
		differs   bool
	}{
		{"nothing", nil, nil, false},
		{"the same", []Message{a, b}, []Message{a, b}, false},
		{"another order", []Message{b, a}, []Message{a, b}, true},
		{"one missing", []Message{a}, []Message{a, b}, true},
		{"one twice", []Message{a, b, b}, []Message{a, b}, true},
		{"another topic", []Message{with(func(m *Message) { m.Topic = "T" })}, []Message{a}, true},
		{"another QoS", []Message{with(func(m *Message) { m.QoS = 2 })}, []Message{a}, true},
		{"marked retained", []Message{with(func(m *Message) { m.Retain = true })}, []Message{a}, true},
		{"a property more", []Message{with(func(m *Message) { m.Properties.Text = true })}, []Message{a}, true},
		{"identifiers nobody asked for", []Message{with(func(m *Message) { m.Properties.IDs = []int{1} })}, []Message{a}, false},
		{"no identifier", []Message{a}, []Message{with(func(m *Message) { m.Properties.IDs = []int{1} })}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := difference(c.got, c.want); (d != "") != c.differs {
				t.Errorf("difference is %q", d)
			}
		})
	}
}

func TestParseMosquitto(t *testing.T) {
	m, ok := parseMosquitto([]byte(`{"tst":"x","topic":"a/ü","qos":1,"retain":1,"payloadlen":3,"properties":{"message-expiry-interval":60,` +
		`"subscription-identifier":7,"user-properties":{"k":"v","k":"w"},"response-topic":"r"},"payload":"a\"b"}` + "\n"))
	want := Message{Topic: "a/ü", Payload: `a"b`, QoS: 1, Retain: true,
		Properties: Properties{User: [][2]string{{"k", "v"}, {"k", "w"}}, ResponseTopic: "r", Expiry: 60, IDs: []int{7}}}
	if !ok || !equal(m, want) {
		t.Errorf("got %v %+v, want %+v", ok, m, want)
	}
	for _, line := range []string{"\n", "Client x received SUBACK\n", "{\n", "{}\n"} {
		if m, ok := parseMosquitto([]byte(line)); ok {
			t.Errorf("%q is a message: %+v", line, m)
		}
	}
}

// lossy is a library whose network is a map, and which misbehaves as told.
type lossy struct {
	hub      *hub
	options  Options
	got      chan Message
	filters  []string
	lose     string // the payload that it never receives
	lacks    bool   // it cannot subscribe
	connects bool
}

type hub struct{ clients []*lossy }

func (c *lossy) Messages() <-chan Message { return c.got }
func (c *lossy) Connect(context.Context) (bool, error) {
	if !c.connects {
		return false, errors.New("refused")
	}
	return false, nil
}
func (c *lossy) Subscribe(_ context.Context, _ int, filters ...Filter) error {
	if c.lacks {
		return errCannot
	}
	for _, f := range filters {
		c.filters = append(c.filters, strings.TrimSuffix(f.Filter, "+"))
	}
	return nil
}
func (c *lossy) Publish(_ context.Context, messages ...Message) error {
	for _, m := range messages {
		for _, other := range c.hub.clients {
			matches := func(prefix string) bool { return strings.HasPrefix(m.Topic, prefix) }
			if m.Payload != other.lose && slices.ContainsFunc(other.filters, matches) {
				other.got <- m
			}
		}
	}
	return nil
}
func (c *lossy) Disconnect(context.Context) error { return nil }
func (c *lossy) Kill(context.Context) error       { return nil }

func TestCell(t *testing.T) {
	for _, c := range []struct {
		name   string
		client lossy
		want   verdict
	}{
		{"all is well", lossy{connects: true}, passed},
		{"a message is lost", lossy{connects: true, lose: "message 3"}, failed},
		{"the last message is lost", lossy{connects: true, lose: "end"}, failed},
		{"the connection is refused", lossy{}, failed},
		{"the library cannot", lossy{connects: true, lacks: true}, cannot},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hub{}
				l := &Library{Name: "lossy", Open: func(o Options) Client {
					client := c.client
					client.hub, client.options, client.got = h, o, make(chan Message, received)
					h.clients = append(h.clients, &client)
					return &client
				}}
				m := matrix{patience: time.Minute, parallel: 1, progress: io.Discard}
				out := m.cell(t.Context(), row{l, v311, tcp}, testCase{run: roundTrip(0)}, "cell")
				if out.verdict != c.want || (out.detail == "") != (c.want == passed) {
					t.Errorf("got %+v, want %s", out, c.want)
				}
			})
		})
	}
	t.Run("an MQTT 5 case of an older client", func(t *testing.T) {
		m := matrix{}
		if out := m.cell(t.Context(), row{&Library{}, v311, tcp}, testCase{only5: true}, "cell"); out.verdict != cannot {
			t.Errorf("got %+v", out)
		}
	})
}

func TestReport(t *testing.T) {
	l := &Library{Name: "lib 1", Versions: []string{v311}}
	line := make([]outcome, len(cases()))
	for i := range line {
		line[i] = outcome{verdict: passed}
	}
	r := &report{rows: []row{{l, v311, tcp}}, cells: [][]outcome{line}}
	if !r.green() {
		t.Error("all passed, but the report is not green")
	}
	line[2] = outcome{failed, "it was late"}
	if r.green() {
		t.Error("a cell failed, but the report is green")
	}
	for _, text := range []string{r.text(), r.markdown()} {
		if !strings.Contains(text, "| FAIL") || !strings.Contains(text, "FAIL: lib 1, 3.1.1, tcp: QoS 2: it was late") {
			t.Errorf("the failure is missing in\n%s", text)
		}
	}
	if (&report{}).green() {
		t.Error("a report with nothing in it is green")
	}
}
