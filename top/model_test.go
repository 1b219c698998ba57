package top

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/screen"
	"github.com/synthetism/edgebroker/statsd"
)

var golden = flag.Bool("golden", false, "write the pictures that are expected anew")

const hostile = "evil\x1b[2J\nid\u202e\u0301日本"

// start is when the tests begin.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// press gives the model keys, separated by blanks, and returns the last action.
func press(m *model, keys string) (a action) {
	for k := range strings.FieldsSeq(keys) {
		a = m.press(screen.Key(k))
	}
	return a
}

// filled is a model that has been told of a broker's counters, clients, topics,
// uplinks and events at two instants, two seconds apart.
func filled(o Options) *model {
	o.Zone = time.UTC
	o.EventText = func(e events.Event) string { return fmt.Sprint(e.Data) }
	m := newModel(o)
	for i := range uint64(2) {
		at := start().Add(time.Duration(i) * 2 * time.Second)
		m.update(counters{at, statsd.Snapshot{
			Version: "v1.2.3", StartedAt: start().Add(-26 * time.Hour), Uptime: 26*3600 + 2*float64(i), ClientCount: 3,
			Connections:   statsd.Connections{Current: 3, Maximum: 9, Total: 40 + i, Refused: 2},
			Sessions:      statsd.Sessions{Total: 4, Kept: 1},
			Subscriptions: statsd.Subscriptions{Total: 5},
			Received:      statsd.Traffic{Messages: 1_234_567 + 250*i, Bytes: 99_000_000 + 20_480*i},
			Sent:          statsd.Traffic{Messages: 2_000_000 + 30_000*i, Bytes: 150_000_000 + 3_000_000*i},
			Dropped:       statsd.Dropped{Total: 12 + i, ByReason: map[string]uint64{"queue_full": 10 + i, "expired": 2}},
			Queued:        statsd.Queued{Messages: 42, Bytes: 9000, Inflight: 3},
			Rates:         statsd.Rates{Received: statsd.Rate{Min1: 120.5, Min5: 0.25}, BytesSent: statsd.Rate{Min1: 1_200_000}},
			Delivery:      statsd.Delivery{Measured: 9, P50: 8e-6, P99: 0.004},
			Memory:        statsd.Memory{Resident: 30 << 20},
			Budget:        statsd.Budget{Bytes: 64 << 20, Used: 12 << 20, Level: "calm"},
			Listeners:     []statsd.Listener{{Name: "lan", Address: "192.168.8.1:1883", Sockets: 3}},
			Bridges: []statsd.Bridge{
				{Name: "cloud", Address: "mqtts://cloud.example.com:8883", State: "up", Since: start().Add(-time.Hour), Acked: 100 + 20*i, LastHeard: start()},
				{Name: "spare", Address: "10.0.0.9:1883", State: "down", Why: "connection \x1b[31mrefused", Since: start().Add(-time.Minute), Queued: statsd.Store{Messages: 12_345}},
			},
		}})
		m.update(clientList{at, []statsd.Client{
			{ID: "away", Protocol: "5", Queued: statsd.Store{Messages: 42}},
			{ID: hostile, Connected: true, ConnectedAt: start().Add(-90 * time.Second), Remote: "10.0.0.7:5002", Listener: "lan", Protocol: "3.1.1",
				Subscriptions: 1, Received: statsd.Count{Messages: 500 + 240*i}, ReceivedBytes: 70_000},
			{ID: "slow-one", Username: "meter", Connected: true, ConnectedAt: start().Add(-3 * time.Hour), Remote: "10.0.0.8:5003", Listener: "lan", Protocol: "5",
				Subscriptions: 4, Sent: statsd.Count{Messages: 900 + 10*i}, Queued: statsd.Store{Messages: 99}, Waited: 75, Slow: true, Stalls: 2, Dropped: 7},
		}})
		m.update(topicList{at, statsd.Topics{Messages: 2000, Bytes: 64_000, Busiest: []statsd.Busy{
			{Topic: "plant/1/temp", Messages: 1500 + 100*i, Bytes: 30_000 + 2000*i}, {Topic: "plant/\x07bell", Messages: 20, Bytes: 400, Error: 3},
		}}, m.depth, m.order(topicsTab)})
	}
	m.update(happened{[]events.Event{
		{ID: "a", Type: events.Connection, Time: start().Add(-time.Minute), Data: hostile + " from 10.0.0.7:5002"},
		{ID: "b", Type: events.Drop, Time: start(), Data: "slow-one plant/1/temp: queue_full"},
	}})
	return m
}

// TestPictures compares what keys lead to with testdata, at two sizes.
func TestPictures(t *testing.T) {
	for _, size := range []struct{ w, h int }{{80, 24}, {40, 12}} {
		for _, test := range []struct{ name, keys string }{
			{"overview", ""},
			{"clients", "2"},
			{"kick", "2 down k"},
			{"filter", "2 / s L o"},
			{"topics", "3"},
			{"bridges", "4 down"},
			{"events", "5"},
			{"help", "?"},
		} {
			name := fmt.Sprintf("%s-%dx%d", test.name, size.w, size.h)
			t.Run(name, func(t *testing.T) {
				m := filled(Options{})
				m.resize(size.w, size.h)
				press(m, test.keys)
				compare(t, name, m.view().String())
			})
		}
	}
	t.Run("lost", func(t *testing.T) {
		m := filled(Options{ASCII: true})
		m.update(trouble{start(), "first", true, 0})
		m.update(trouble{start().Add(9 * time.Second), "reach control socket /run/c.sock: no such file or directory", true, 0})
		compare(t, "lost-80x24", m.view().String())
	})
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *golden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever keys and sizes come, and whatever clients call themselves, a picture has
// its size and nothing in it steers the terminal.
func TestAnyKeys(t *testing.T) {
	keys := []string{"1", "2", "3", "4", "5", "tab", "shift+tab", "up", "down", "pgup", "pgdown", "home", "end", "g", "G", " ", "s", "S", "/", "esc", "enter", "backspace",
		"k", "y", "n", "d", "m", "p", "?", "é", "日", "unknown", "ctrl+u", "ctrl+l", "left", "right"}
	rapid.Check(t, func(t *rapid.T) {
		m := filled(Options{ASCII: rapid.Bool().Draw(t, "ascii")})
		var many []statsd.Client
		for range rapid.IntRange(0, 60).Draw(t, "clients") {
			many = append(many, statsd.Client{ID: rapid.String().Draw(t, "id"), Connected: true, Remote: rapid.String().Draw(t, "remote")})
		}
		m.update(clientList{start().Add(time.Minute), many})
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			before := m.mode
			a := m.press(screen.Key(rapid.SampledFrom(keys).Draw(t, "key")))
			if a == kick && before != confirming {
				t.Fatal("kicked without being asked")
			}
			w, h := rapid.IntRange(1, 130).Draw(t, "w"), rapid.IntRange(1, 50).Draw(t, "h")
			m.resize(w, h)
			lines := strings.Split(strings.TrimSuffix(m.view().String(), "\n"), "\n")
			if len(lines) > h {
				t.Fatalf("%d lines on a screen of %d", len(lines), h)
			}
			for _, line := range lines {
				if screen.Width(line) > w {
					t.Fatalf("%q is wider than %d", line, w)
				}
				for _, r := range line {
					if !screen.Printable(r) || m.ascii && r > 0x7e && m.mode != filtering {
						t.Fatalf("%q holds %q", line, r)
					}
				}
			}
		}
	})
}

func TestKick(t *testing.T) {
	m := filled(Options{Tab: clientsTab, Order: "id"})
	// The selected client is kicked, wherever others move meanwhile.
	press(m, "end")
	if a := press(m, "k"); a != nothing || m.mode != confirming || m.victim != "slow-one" {
		t.Fatalf("k: %v, mode %v, %q", a, m.mode, m.victim)
	}
	m.update(clientList{start().Add(4 * time.Second), append([]statsd.Client{{ID: "zz", Connected: true}}, m.clients...)})
	if a := press(m, "y"); a != kick || m.victim != "slow-one" {
		t.Fatalf("y: %v, %q", a, m.victim)
	}
	for _, key := range []string{"n", "enter", "esc", "k", "q", "down"} {
		press(m, "k")
		if a := press(m, key); a != nothing || m.mode != browsing {
			t.Errorf("%s: %v, mode %v", key, a, m.mode)
		}
	}
	press(m, "home k")
	if m.mode != browsing || !strings.Contains(m.view().String(), "it is not connected") {
		t.Errorf("an absent client: mode %v\n%s", m.mode, m.view())
	}
	m.update(kicked{id: hostile, problem: "kick " + hostile + ": gone"})
	if text := m.view().String(); !strings.Contains(text, `kick evil\x1b[2J\x0aid\u{202e}\u{301}日本: gone`) {
		t.Errorf("what went wrong:\n%s", text)
	}
}

func TestSelectionStaysWithItsRow(t *testing.T) {
	m := filled(Options{Tab: clientsTab, Order: "id"})
	selected := func() string { rows := m.rows(); return rows[m.place(rows)].key }
	press(m, "down down")
	if selected() != "slow-one" {
		t.Fatalf("selected is %q", selected())
	}
	m.update(clientList{start().Add(4 * time.Second), slices.Concat([]statsd.Client{{ID: "aaa"}, {ID: "aab"}}, m.clients)})
	if selected() != "slow-one" {
		t.Errorf("after others have come %q is selected", selected())
	}
	m.update(clientList{start().Add(6 * time.Second), []statsd.Client{{ID: "aaa"}, {ID: "zzz"}}})
	if selected() != "zzz" {
		t.Errorf("after it has gone %q is selected", selected())
	}
}

func TestOrdersAndFilters(t *testing.T) {
	m := filled(Options{Tab: clientsTab, Order: "queue"})
	ids := func() (list []string) {
		for _, r := range m.rows() {
			list = append(list, r.key)
		}
		return list
	}
	check := func(keys string, want ...string) {
		t.Helper()
		press(m, keys)
		if got := ids(); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", keys, got, want)
		}
	}
	check("", "slow-one", "away", hostile)
	for m.order(clientsTab) != "in" {
		press(m, "S")
	}
	check("", hostile, "away", "slow-one")
	check("S S", hostile, "slow-one", "away") // by rate
	check("/ M E T E R", "slow-one")
	check("enter", "slow-one")
	check("/ x")
	check("backspace enter", "slow-one")
	check("/ esc", hostile, "slow-one", "away")
	check(`/ x 1 b [`, hostile) // as it is shown
	check("ctrl+u enter", hostile, "slow-one", "away")
}

// Rates that are about the same do not make rows change places.
func TestOrderIsCalm(t *testing.T) {
	m := filled(Options{Tab: clientsTab})
	var totals [8]uint64
	for step := range uint64(50) {
		var list []statsd.Client
		for i := range totals {
			totals[i] += 200 + (step*7+uint64(i)*3)%9 - 4
			list = append(list, statsd.Client{ID: fmt.Sprint(i), Received: statsd.Count{Messages: totals[i]}})
		}
		m.update(clientList{start().Add(time.Duration(step) * 2 * time.Second), list})
		if step < 2 {
			continue
		}
		for i, r := range m.rows() {
			if r.key != fmt.Sprint(i) {
				t.Fatalf("step %d: row %d is %q", step, i, r.key)
			}
		}
	}
}

func TestRatesStartAgainWithTheBroker(t *testing.T) {
	m := filled(Options{})
	if v, ok := m.traces[received].latest(); !ok || v != 125 {
		t.Fatalf("%v %v messages per second", v, ok)
	}
	m.update(counters{start().Add(4 * time.Second), statsd.Snapshot{Uptime: 1, Received: statsd.Traffic{Messages: 5}}})
	if v, ok := m.traces[received].latest(); ok {
		t.Errorf("after a restart %v messages per second", v)
	}
	m.update(counters{start().Add(6 * time.Second), statsd.Snapshot{Uptime: 3, Received: statsd.Traffic{Messages: 25}}})
	if v, _ := m.traces[received].latest(); v != 10 {
		t.Errorf("then %v, want 10", v)
	}
	// One that has not been seen for a while may have run for longer than before.
	m.update(counters{start().Add(time.Minute), statsd.Snapshot{Uptime: 40, Received: statsd.Traffic{Messages: 6}}})
	if v, ok := m.traces[received].latest(); ok {
		t.Errorf("after another restart %v messages per second", v)
	}
}

func TestAnswersToAnOldQuestionAreNotShown(t *testing.T) {
	m := filled(Options{Tab: topicsTab})
	if press(m, "d") != fetch {
		t.Fatal("d asks for nothing")
	}
	m.update(topicList{start(), statsd.Topics{Busiest: []statsd.Busy{{Topic: "whole/topic"}}}, 0, "messages"})
	if len(m.rows()) != 0 || !strings.Contains(m.view().String(), "waiting for the daemon") {
		t.Error("whole topics are shown as branches")
	}
	m.update(topicList{start(), statsd.Topics{Busiest: []statsd.Busy{{Topic: "whole"}}}, 1, "messages"})
	if len(m.rows()) != 1 {
		t.Error("branches are not shown")
	}
}

func TestEventsAreBoundedAndPause(t *testing.T) {
	m := filled(Options{Tab: eventsTab})
	press(m, "p")
	for i := range 3 * eventsKept {
		m.update(happened{[]events.Event{{ID: fmt.Sprint(i), Type: events.System, Time: start(), Data: i}}})
	}
	if n := len(m.rows()); n != 2 {
		t.Errorf("%d events are shown while paused", n)
	}
	press(m, "p")
	if rows := m.rows(); len(rows) != eventsKept || rows[0].key != fmt.Sprint(3*eventsKept-1) {
		t.Errorf("%d events, the first %q", len(rows), rows[0].key)
	}
}

// A refresh in which all numbers have changed takes a line of 115200 baud, which
// carries 11 KB in a second, a fifth of that.
func TestRefreshIsSmall(t *testing.T) {
	for tab, name := range Tabs() {
		m := newModel(Options{Tab: tab, EventText: func(events.Event) string { return strings.Repeat("something has happened ", 4) }, Zone: time.UTC})
		p, n, most, total := screen.Painter{Color: true}, 0, 0, 0
		for step := range uint64(100) {
			at := start().Add(time.Duration(step) * 2 * time.Second)
			noise := step * step % 97 // so that all digits change
			m.update(counters{at, statsd.Snapshot{Uptime: 3600 + 2*float64(step), Received: statsd.Traffic{Messages: 5000*step + 10*noise, Bytes: 900_000*step + noise*999},
				Sent: statsd.Traffic{Messages: 9000*step + 30*noise, Bytes: 1_900_000*step + noise*777}, Dropped: statsd.Dropped{Total: 3*step + noise}}})
			var list []statsd.Client
			var topics statsd.Topics
			for i := range uint64(20) {
				count := statsd.Count{Messages: step*100*i + noise*(i+1)}
				list = append(list, statsd.Client{ID: fmt.Sprint("device-", i), Connected: true, ConnectedAt: start(), Received: count, Sent: count})
				topics.Busiest = append(topics.Busiest, statsd.Busy{Topic: fmt.Sprint("plant/", i), Messages: count.Messages, Bytes: 30 * count.Messages})
			}
			m.update(clientList{at, list})
			m.update(topicList{at, topics, 0, "messages"})
			m.update(happened{[]events.Event{{ID: fmt.Sprint(step), Type: events.System, Time: at}}})
			out := len(p.Paint(m.view()))
			if step < 2 { // the first picture
				continue
			}
			n, total, most = n+1, total+out, max(most, out)
		}
		t.Logf("%s: %d bytes on average, %d at most", name, total/n, most)
		if total/n > 2048 {
			t.Errorf("%s: a refresh takes %d bytes on average", name, total/n)
		}
	}
}

func TestSpark(t *testing.T) {
	var tr trace
	if got := tr.spark(3, false); got != "   " {
		t.Errorf("nothing: %q", got)
	}
	for _, v := range []float64{0, 0.001, 50, 100} {
		tr.add(v)
	}
	if got := tr.spark(6, false); got != "  ▁▂▅█" {
		t.Errorf("%q", got)
	}
	if got := tr.spark(2, true); got != "=#" {
		t.Errorf("%q", got)
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", -1: "0", 0.25: "0.25", 0.999: "1.0", 9.5: "9.5", 99.97: "100", 812: "812", 999.7: "1000", 9999.6: "10.0k", 12_345: "12.3k", 99_960: "100k", 999_700: "1.0M", 4.5e6: "4.5M", 1e30: "1000000000000E"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) is %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0B", 1023: "1023B", 1024: "1.0K", 10 << 20: "10.0M", 1023 << 10: "1023K"} {
		if got := shortBytes(v); got != want {
			t.Errorf("shortBytes(%v) is %q, want %q", v, got, want)
		}
	}
}
