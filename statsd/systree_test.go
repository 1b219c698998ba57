package statsd_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
	"pgregory.net/rapid"
)

// exported is what the exporters in use make of $SYS topics: the name without
// "$SYS/", with "_" for "/" and spaces, and the first number of the payload.
func exported(values []statsd.SysValue) map[string]float64 {
	number := regexp.MustCompile(`-?[0-9]+(?:\.[0-9]+)?`)
	out := make(map[string]float64)
	for _, v := range values {
		name := strings.NewReplacer("/", "_", " ", "_").Replace(strings.TrimPrefix(v.Topic, "$SYS/"))
		out[name], _ = strconv.ParseFloat(number.FindString(v.Value), 64)
	}
	return out
}

// Every value is that of the Snapshot, as an exporter reads it.
func TestSysTreeForExporters(t *testing.T) {
	s, start := exampleSnapshot(), time.Now()
	tree := statsd.NewSysTree(&statsd.Snapshot{}, start)
	got := exported(tree.Update(&s, start.Add(time.Minute)))
	want := map[string]float64{
		"broker_version": 1.2, // "1.2.3": the exporters know better than to use it
		"broker_uptime":  273906, "broker_clients_total": 210, "broker_clients_inactive": 12, "broker_clients_disconnected": 12,
		"broker_clients_active": 198, "broker_clients_connected": 198, "broker_clients_expired": 5, "broker_clients_maximum": 200,
		"broker_messages_stored": 1402 + 31 + 9, "broker_messages_received": 1500000, "broker_messages_sent": 8000000,
		"broker_store_messages_count": 1402 + 31 + 9, "broker_store_messages_bytes": 184320 + 5120,
		"broker_subscriptions_count": 632, "broker_shared_subscriptions_count": 8, "broker_retained_messages_count": 1402,
		"broker_heap_current": 12 << 20, "broker_heap_maximum": 12 << 20,
		"broker_publish_messages_dropped": 42, "broker_publish_messages_received": 1234567, "broker_publish_messages_sent": 7654321,
		"broker_publish_bytes_received": 123456789, "broker_publish_bytes_sent": 987654321,
		"broker_bytes_received": 150000000, "broker_bytes_sent": 1100000000,
		"broker_packet_out_count": 61, "broker_packet_out_bytes": 70001, "broker_connections_socket_count": 211,
		"broker_connection_gw-17_state": 1, "broker_connection_gw-17-plant_state": 0,
	}
	for name, total := range map[string]float64{
		"messages_received": 1500000, "messages_sent": 8000000, "publish_dropped": 42, "publish_received": 1234567, "publish_sent": 7654321,
		"bytes_received": 150000000, "bytes_sent": 1100000000, "sockets": 4400, "connections": 4321 + 7,
	} {
		for span, minutes := range map[string]float64{"1min": 1, "5min": 5, "15min": 15} {
			want["broker_load_"+name+"_"+span] = total * (1 - math.Exp(-1/minutes))
		}
	}
	for name, value := range want {
		if g, ok := got[name]; !ok || math.Abs(g-value) > 0.0051 {
			t.Errorf("%s is %v (%v), want %v", name, g, ok, value)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is not tested", name)
	}
}

// A message that nobody has subscribed to is lost to nobody.
func TestSysTreeDropped(t *testing.T) {
	s := statsd.Snapshot{Dropped: statsd.Dropped{Total: 12, ByReason: map[string]uint64{"no_subscribers": 10, "queue_full": 2}}}
	tree := statsd.NewSysTree(&statsd.Snapshot{}, time.Now())
	if got := exported(tree.Update(&s, time.Now()))["broker_publish_messages_dropped"]; got != 2 {
		t.Errorf("%v dropped, want 2", got)
	}
}

// A version never makes a second line or control sequences.
func TestSysTreeVersion(t *testing.T) {
	s := statsd.Snapshot{Version: "1\n2\x1b[2J\x00"}
	for _, v := range statsd.NewSysTree(&s, time.Now()).Update(&s, time.Now()) {
		if v.Topic == "$SYS/broker/version" && (!strings.HasPrefix(v.Value, "edgebroker version 1") || strings.ContainsAny(v.Value, "\n\x1b\x00")) {
			t.Errorf("%q", v.Value)
		}
	}
}

// Whoever takes what changed always knows all values, and loads follow the
// formula of the load average.
func TestSysTreeChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		var s statsd.Snapshot
		tree, fresh := statsd.NewSysTree(&s, now), 0
		known := make(map[string]string)
		var load [3]float64
		for range rapid.IntRange(1, 20).Draw(t, "updates") {
			grown := rapid.Uint64Range(0, 1000).Draw(t, "grown")
			elapsed := time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(t, "elapsed"))
			s.Received.Packets += grown
			s.Sessions.Total = rapid.Int64Range(0, 2).Draw(t, "sessions")
			s.Memory.Heap = rapid.Uint64Range(0, 9).Draw(t, "heap")
			now = now.Add(elapsed)
			changed := tree.Update(&s, now)
			if fresh == 0 {
				fresh = len(changed)
			}
			for _, v := range changed {
				if known[v.Topic] == v.Value {
					t.Fatalf("%s = %s has not changed", v.Topic, v.Value)
				}
				known[v.Topic] = v.Value
			}
			for i, minutes := range []float64{1, 5, 15} {
				perMinute := 60 * float64(grown) / elapsed.Seconds()
				e := math.Exp(-elapsed.Seconds() / (60 * minutes))
				load[i] = perMinute + e*(load[i]-perMinute)
				topic := fmt.Sprintf("$SYS/broker/load/messages/received/%.0fmin", minutes)
				if got, err := strconv.ParseFloat(known[topic], 64); err != nil || math.Abs(got-load[i]) > 0.0051 {
					t.Fatalf("%s is %s, want %f", topic, known[topic], load[i])
				}
			}
		}
		if len(known) != fresh {
			t.Fatalf("%d topics, of which the first update had %d", len(known), fresh)
		}
		if known["$SYS/broker/clients/total"] != strconv.FormatInt(s.Sessions.Total, 10) || known["$SYS/broker/heap/maximum"] < known["$SYS/broker/heap/current"] {
			t.Fatal(known)
		}
	})
}

// block compares what stands between two marks of docs/MONITORING.md.
func block(t *testing.T, name, want string) {
	t.Helper()
	const path = "../docs/MONITORING.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mark := "<!-- " + name + ": made by go test ./statsd -update -->\n"
	before, rest, ok := strings.Cut(string(text), mark)
	got, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatalf("%s has no block %s", path, name)
	}
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("the table of %s in %s is not what the program does (go test -update writes it anew)", name, path)
	}
	if err := os.WriteFile(path, []byte(before+mark+want+"<!-- end -->"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The document lists exactly the topics that there are.
func TestMonitoringDocument(t *testing.T) {
	var b strings.Builder
	s := exampleSnapshot()
	s.Uptime = 12345
	s.Bridges = s.Bridges[:1]
	s.Bridges[0].ClientID = "CLIENT"
	about := sysMeanings()
	b.WriteString("\n| topic below `$SYS/broker/` | like | meaning |\n|---|---|---|\n")
	for _, v := range statsd.NewSysTree(&s, time.Now()).Update(&s, time.Now()) {
		name := strings.TrimPrefix(v.Topic, "$SYS/broker/")
		if load, ok := strings.CutSuffix(name, "/1min"); ok {
			name = load + "/{1min,5min,15min}"
		} else if strings.HasPrefix(name, "load/") {
			continue
		}
		if about[name] == "" {
			t.Errorf("what does %s mean?", name)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", name, v.Value, about[name])
		delete(about, name)
	}
	for name := range about {
		t.Errorf("there is no topic %s", name)
	}
	block(t, "sys", b.String()+"\n")
}

// What docs/REFERENCE.md lists keeps to the rules of names.
func TestDescriptions(t *testing.T) {
	names := make(map[string]string)
	for _, m := range statsd.DescribeMetrics() {
		if was, taken := names[m.StatsD]; taken {
			t.Errorf("%s and %s have one name, %s", was, m.Name, m.StatsD)
		}
		names[m.StatsD] = m.Name
		if m.Counter != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: counters end with _total, others do not", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: %q is no sentence", m.Name, m.Help)
		}
	}
	if len(names) < 80 {
		t.Errorf("only %d metrics", len(names))
	}
	for _, h := range statsd.DescribeHistograms() {
		if _, unit, _ := strings.Cut(strings.TrimPrefix(h.Name, "edgebroker_"), "_"); !strings.HasSuffix(unit, "seconds") && !strings.HasSuffix(unit, "bytes") {
			t.Errorf("%s has no unit", h.Name)
		}
	}
}

func sysMeanings() map[string]string {
	about := map[string]string{
		"connection/CLIENT/state": "an uplink, by its client identifier on the far side: `1` when it is up, `0` when not",
		"version":                 "what runs", "uptime": "since the start",
		"clients/total": "sessions, with and without a connected client", "clients/connected": "clients connected now",
		"clients/active": "the same, its old name", "clients/disconnected": "sessions kept for clients that are away",
		"clients/inactive": "the same, its old name", "clients/expired": "sessions that ended because their client did not come back in time",
		"clients/maximum": "most clients connected at one time", "messages/stored": "as `store/messages/count`, its old name",
		"messages/received": "packets of every type", "messages/sent": "packets of every type",
		"store/messages/count": "messages retained, waiting, or not yet acknowledged", "store/messages/bytes": "memory charged for them",
		"subscriptions/count": "subscriptions, without shared ones", "shared_subscriptions/count": "members of share groups",
		"retained messages/count": "retained messages of clients; mind the space",
		"heap/current":            "bytes of the heap in use", "heap/maximum": "the most that has been seen",
		"publish/messages/dropped":  "deliveries lost; messages that nobody had subscribed to are none",
		"publish/messages/received": "messages from clients", "publish/messages/sent": "messages to clients, these values included",
		"publish/bytes/received": "their payloads", "publish/bytes/sent": "their payloads",
		"bytes/received": "on the wire", "bytes/sent": "on the wire",
		"packet/out/count": "packets that wait for the network", "packet/out/bytes": "their bytes",
		"connections/socket/count": "sockets open now",
	}
	for name, what := range map[string]string{
		"messages/received": "packets received", "messages/sent": "packets sent", "publish/dropped": "deliveries lost",
		"publish/received": "messages received", "publish/sent": "messages sent", "bytes/received": "bytes received",
		"bytes/sent": "bytes sent", "sockets": "sockets opened", "connections": "CONNECT packets",
	} {
		about["load/"+name+"/{1min,5min,15min}"] = what + " per minute"
	}
	return about
}

// The state of each uplink, as mosquitto has it, and nothing of one that is gone.
func TestSysTreeConnections(t *testing.T) {
	tree := statsd.NewSysTree(&statsd.Snapshot{}, time.Now())
	say := func(bridges ...statsd.Bridge) string {
		var words []string
		for _, v := range tree.Update(&statsd.Snapshot{Bridges: bridges}, time.Now()) {
			if name, ok := strings.CutPrefix(v.Topic, "$SYS/broker/connection/"); ok {
				words = append(words, name+"="+v.Value)
			}
		}
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	cloud, plant := statsd.Bridge{ClientID: "gw-cloud", State: "up"}, statsd.Bridge{ClientID: "gw-plant", State: "down"}
	for i, want := range []string{"gw-cloud/state=1 gw-plant/state=0", ""} {
		if got := say(cloud, plant); got != want {
			t.Errorf("time %d: got %q, want %q", i, got, want)
		}
	}
	cloud.State = "stalled"
	if got := say(cloud); got != "gw-cloud/state=0 gw-plant/state=" {
		t.Errorf("got %q", got)
	}
}
