package statsd_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/statsd"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew)\ngot\n%s\nwant\n%s", path, got, want)
	}
}

// The JSON forms are a contract with users' tools.
func TestJSONContract(t *testing.T) {
	for name, v := range map[string]any{
		"snapshot.json": exampleSnapshot(),
		"clients.json":  exampleClients(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)),
		"balance.json":  exampleBalance(),

		"publishers.json": statsd.Found[statsd.TopicPublishers]{Total: 3, List: examplePublishers()},
		"retained.json":   statsd.Found[statsd.Retained]{Total: 1, List: []statsd.Retained{exampleRetained()}},
		"topics.json":     exampleTopics(),
	} {
		got, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(got, '\n'))
	}
}

func exampleClients(now time.Time) []statsd.Client {
	return []statsd.Client{
		{
			ID: "boiler-17", Username: "plant", Connected: true, ConnectedAt: now.Add(-75 * time.Hour), Remote: "192.168.1.17:51544", Listener: "tcp", Protocol: "3.1.1", KeepAlive: 60, Subscriptions: 2,
			Received: statsd.Count{Messages: 1234567, PayloadBytes: 1 << 24}, Sent: statsd.Count{Messages: 12, PayloadBytes: 100}, ReceivedBytes: 1 << 25, SentBytes: 200, Queued: statsd.Store{Messages: 3, Bytes: 30}, Inflight: 1, Dropped: 7, Pending: 99, Waited: 75, Stalls: 4, Slow: true,
			Filters: []statsd.ClientFilter{{Filter: "boiler/17/set", QoS: 1}, {Filter: "$share/g/all/#"}},
		},
		{ID: "evil\x1b[2J\u202e☃" + strings.Repeat("x", 100), Connected: true, ConnectedAt: now.Add(-5 * time.Second), Remote: "[::1]:9", Protocol: "5", CleanStart: true, SessionExpiry: 4294967295},
		{ID: "$bridge/north", Connected: true, Sent: statsd.Count{Messages: 7}, Subscriptions: 1},
		{ID: "asleep", Protocol: "5", Queued: statsd.Store{Messages: 1000, Bytes: 1 << 20}, Waited: 7200, WaitedAtLeast: true},
	}
}

func TestWriteTable(t *testing.T) {
	var out bytes.Buffer
	if err := exampleSnapshot().WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", out.Bytes())

	out.Reset()
	if err := (statsd.Snapshot{Version: "dev", Retained: statsd.Store{Bytes: -1}, MessageCount: 1 << 63, Received: statsd.Traffic{Messages: 1 << 63}}).WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "table_empty.txt", out.Bytes())
}

func TestWriteClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still
		var out bytes.Buffer
		if err := statsd.WriteClients(&out, exampleClients(time.Now())); err != nil {
			t.Fatal(err)
		}
		golden(t, "clients.txt", out.Bytes())
	})
}

func TestSortClients(t *testing.T) {
	now := time.Now()
	clients := func() []statsd.Client {
		return []statsd.Client{
			{ID: "c", Connected: true, ConnectedAt: now, Received: statsd.Count{Messages: 1}, Sent: statsd.Count{Messages: 9}, SentBytes: 1},
			{ID: "a", Queued: statsd.Store{Messages: 5}, Dropped: 1, ReceivedBytes: 50},
			{ID: "d", Connected: true, ConnectedAt: now.Add(-time.Hour), Received: statsd.Count{Messages: 2}, Dropped: 1, ReceivedBytes: 9, SentBytes: 42, Waited: 3, Stalls: 1},
			{ID: "b", Received: statsd.Count{Messages: 2}, Sent: statsd.Count{Messages: 1}},
		}
	}
	want := map[string]string{"": "abcd", "id": "abcd", "connected": "dcab", "in": "bdca", "out": "cbad", "bytes": "dacb", "queued": "abcd", "dropped": "adbc", "queue": "abcd", "drops": "adbc", "latency": "dabc", "stalls": "dabc"}
	for _, order := range append(statsd.ClientOrders(), "") {
		list := clients()
		if !statsd.SortClients(list, order) {
			t.Errorf("order %q is listed but unknown", order)
		}
		got := ""
		for _, c := range list {
			got += c.ID
		}
		if got != want[order] {
			t.Errorf("order %q gives %s, want %q", order, got, want[order])
		}
	}
	if statsd.SortClients(clients(), "colour") {
		t.Error("an unknown order was accepted")
	}
}

func TestSafeText(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain", 40, "plain"},
		{"", 40, ""},
		{"snow ☃ ü", 40, "snow ☃ ü"},
		{"a\x1b[31m\x07\n", 40, `a\x1b[31m\x07\x0a`},
		{`back\slash`, 40, `back\\slash`},
		{"bad \xff\xc3", 40, `bad \xff\xc3`},
		{"c1 \u009b", 40, `c1 \u{9b}`},
		{"bidi \u202e", 40, `bidi \u{202e}`},
		{"\ufffd", 40, "\ufffd"},
		{"12345", 5, "12345"},
		{"123456", 5, "1234…"},
		{"123\x01", 5, "123…"},
		{"1\x01", 5, `1\x01`},
		{"123456", 0, "123456"},
	} {
		if got := statsd.SafeText(c.in, c.limit); got != c.want {
			t.Errorf("SafeText(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestSafeTextProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOf(rapid.Byte()).Draw(t, "in"))
		if rapid.Bool().Draw(t, "text") {
			in = rapid.String().Draw(t, "in text")
		}
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		got := statsd.SafeText(in, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > limit {
			t.Fatalf("SafeText(%q, %d) = %q, %d characters", in, limit, got, utf8.RuneCountInString(got))
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("SafeText(%q, %d) = %q holds %U", in, limit, got, r)
			}
		}
	})
}
