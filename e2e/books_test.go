package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// TestBooks has a crowd of clients flap, be slow, be refused and miss messages,
// and then compares all books: those of the crowd, stats, the metrics, the sums
// of StatsD, $SYS, the loss ledger, the balance and the events. They agree to
// the message. EDGEBROKER_BOOKS is for how long, scripts/books.sh says ten
// minutes.
func TestBooks(t *testing.T) {
	span := 6 * time.Second
	if text := os.Getenv("EDGEBROKER_BOOKS"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("EDGEBROKER_BOOKS: %v", err)
		}
	} else if testing.Short() {
		t.Skip("a crowd takes seconds")
	}
	o := brokertest.CrowdOptions{Seed: 1883, Duration: span, Clients: 200, Rate: 1500}
	if raceEnabled {
		o.Rate = 400
	}
	push, rules := newStatsdSums(t), filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("deny any all crowd/secret/#\nallow any all #\nallow any subscribe $SYS/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, func(c *appliance.Config) {
		c.Storage.Directory = t.TempDir()
		c.Sessions.MaxQueuedMessages, c.Sessions.WhenFull = o.Rate/6, appliance.DropOldest
		c.Limits.MaxOutboundBytes = 64 * appliance.KiB
		c.Access.Rules = []string{rules}
		c.Sys.Interval, c.Sys.Metrics = time.Second, true
		c.Statsd.Address, c.Statsd.Interval = "unixgram:"+push.path, time.Second
	})
	ends := newEventSums(t, b)
	control := statsd.Dial(filepath.Join(filepath.Dir(strings.TrimPrefix(b.unix, "unix:")), "control.sock"))
	t.Cleanup(control.Close)
	o.Addr = b.addr
	o.Kick = func(id string) error { return control.Kick(t.Context(), id) }
	o.Lost = func(id string) (n uint64, err error) {
		for _, l := range b.Losses() {
			if l.Client == id {
				n += l.Count
			}
		}
		return n, nil
	}
	tally, err := brokertest.RunCrowd(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the last client to be gone", func() bool { return b.Stats().Connections.Sockets == 0 })
	stats, err := control.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d connections, %d published, %d delivered, lost %v", tally.Connects, tally.Published.Messages(), tally.Delivered.Messages(), stats.Dropped.ByReason)
	reasons := []string{"qos0_msg", "no_subscribers"}
	if span >= time.Minute { // the others may not come about before
		reasons = append(reasons, "queue_full", "expired", "slow_consumer")
	}
	for _, reason := range reasons {
		if stats.Dropped.ByReason[reason] == 0 {
			t.Errorf("nothing was lost because of %s: not everything has been tried", reason)
		}
	}
	everyReaderHasAll(t, tally)
	books := crowdBooks(tally, stats)
	var scrape []byte
	brokertest.WaitFor(t, "$SYS to be renewed", func() bool { // it is among the metrics, too
		if scrape, err = control.Metrics(t.Context()); err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(scrape, fmt.Appendf(nil, "\nbroker_publish_bytes_sent %v\n", float64(books["payload sent"])))
	})
	compare(t, books, "stats", statsBooks(stats))
	compare(t, books, "metrics", metricBooks(t, scrape))
	compare(t, books, "the ledger", ledgerBooks(t, control))
	brokertest.WaitFor(t, "StatsD to have been told everything", func() bool { return len(differences(books, push.books())) == 0 })
	brokertest.WaitFor(t, "an event for each end", func() bool { return len(differences(books, ends.books())) == 0 })
	compare(t, books, "StatsD", push.books())
	compare(t, books, "events", ends.books())
	balance, err := control.Balance(t.Context())
	if err != nil || !balance.Balanced {
		t.Errorf("the balance: %+v, %v", balance, err)
	}
	compare(t, books, "$SYS", sysBooks(t, b.addr)) // last: who asks is counted, too
}

// book is numbers by what they count.
type book map[string]uint64

// crowdBooks is what the crowd has counted. What was lost, and for which reason,
// only the broker knows; the readers say whether that is true.
func crowdBooks(c brokertest.CrowdTally, s statsd.Snapshot) book {
	b := book{
		"accepted": c.Connects, "turned away": c.Turned, "publishes refused": c.Refused, "subscriptions refused": c.Denied,
		"payload received": c.Published.Bytes, "payload sent": c.Delivered.Bytes, "nobody had subscribed": c.Unheard,
		"messages": c.Published.Messages() + c.Wills.Messages(), "received": c.Published.Messages(), "sent": c.Delivered.Messages(),
		"lost": s.Dropped.Total - c.Unheard,
	}
	for q := range 3 {
		b[fmt.Sprint("received at QoS ", q)], b[fmt.Sprint("sent at QoS ", q)] = c.Published.QoS[q], c.Delivered.QoS[q]
	}
	for reason, n := range c.Disconnects {
		b["ended: "+reason] = n
	}
	for reason, n := range s.Dropped.ByReason {
		if reason != "no_subscribers" {
			b["lost: "+reason] = n
		}
	}
	return b
}

// differences are the entries of other that are not as in b, or not there in b.
func differences(b, other book) (list []string) {
	for _, what := range slices.Sorted(maps.Keys(other)) {
		if n, known := b[what]; !known || n != other[what] {
			list = append(list, fmt.Sprintf("%s: %d, the crowd counted %d", what, other[what], n))
		}
	}
	return list
}

func compare(t *testing.T, b book, name string, other book) {
	t.Helper()
	if len(other) < 3 {
		t.Errorf("%s has only %d numbers to compare", name, len(other))
	}
	for _, d := range differences(b, other) {
		t.Errorf("%s: %s", name, d)
	}
}

// everyReaderHasAll says what each reader has missed, if the broker does not
// say so.
func everyReaderHasAll(t *testing.T, c brokertest.CrowdTally) {
	t.Helper()
	var pauses, lost uint64
	for _, readers := range []map[string]*brokertest.ReaderTally{c.Readers, c.Groups} {
		for id, r := range readers {
			pauses, lost = pauses+r.Pauses, lost+r.Lost
			if r.Meant != r.Got+r.Lost {
				t.Errorf("%s: %d messages were meant for it, it got %d (and %d again), and lost %d", id, r.Meant, r.Got, r.Again, r.Lost)
			}
		}
	}
	if pauses == 0 || lost == 0 {
		t.Errorf("readers were away or slow %d times and lost %d messages: not everything has been tried", pauses, lost)
	}
}

func statsBooks(s statsd.Snapshot) book {
	b := book{
		"accepted": s.Connections.Total, "turned away": s.Connections.Refused, "publishes refused": s.Refusals["publish"], "subscriptions refused": s.Refusals["subscribe"],
		"payload received": s.Received.PayloadBytes, "payload sent": s.Sent.PayloadBytes, "messages": s.MessageCount,
		"received": s.Received.Messages, "sent": s.Sent.Messages, "nobody had subscribed": s.Dropped.ByReason["no_subscribers"],
		"received at QoS 0": s.Received.QoS0, "received at QoS 1": s.Received.QoS1, "received at QoS 2": s.Received.QoS2,
		"sent at QoS 0": s.Sent.QoS0, "sent at QoS 1": s.Sent.QoS1, "sent at QoS 2": s.Sent.QoS2,
	}
	for reason, n := range s.Disconnections {
		b["ended: "+reason] = n
	}
	return b
}

// series are the counters of Prometheus, whose names in StatsD end with the
// value of the label, and what they count.
var series = map[string]string{
	"connections accepted": "accepted", "connections refused": "turned away",
	"refusals publish": "publishes refused", "refusals subscribe": "subscriptions refused",
	"publish_received 0": "received at QoS 0", "publish_received 1": "received at QoS 1", "publish_received 2": "received at QoS 2",
	"publish_sent 0": "sent at QoS 0", "publish_sent 1": "sent at QoS 1", "publish_sent 2": "sent at QoS 2",
	"messages_dropped no_subscribers": "nobody had subscribed",
	"publish_received_bytes ":         "payload received", "publish_sent_bytes ": "payload sent",
}

// add adds n to the entry of a series, if it has one.
func (b book) add(name, label string, n uint64) {
	switch what := series[name+" "+label]; {
	case what != "":
		b[what] += n
	case name == "disconnections":
		b["ended: "+label] += n
	case name == "messages_dropped":
		b["lost: "+label] += n
	}
}

func metricBooks(t *testing.T, scrape []byte) book {
	t.Helper()
	b := book{}
	for line := range strings.Lines(string(scrape)) {
		name, ours := strings.CutPrefix(line, "edgebroker_")
		sample := strings.Fields(name)
		if !ours || len(sample) != 2 {
			continue
		}
		name, labels, _ := strings.Cut(sample[0], "{")
		value, err := strconv.ParseFloat(sample[1], 64)
		if err != nil {
			t.Fatalf("what is %q?", line)
		}
		_, label, _ := strings.Cut(strings.TrimSuffix(labels, `"}`), `="`)
		b.add(strings.TrimSuffix(name, "_total"), label, uint64(value))
	}
	return b
}

func ledgerBooks(t *testing.T, control *statsd.ControlClient) book {
	t.Helper()
	list, err := control.Drops(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := book{}
	for _, l := range list {
		if l.Reason == "no_subscribers" {
			continue
		}
		b["lost"] += l.Count
		b["lost: "+l.Reason] += l.Count
	}
	return b
}

// sysBooks asks for $SYS as it is after the last interval, when nobody else is
// there any more.
func sysBooks(t *testing.T, addr string) book {
	t.Helper()
	c := brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "watch"))
	defer c.Disconnect()
	b := book{}
	for _, v := range []struct{ topic, what string }{
		{"publish/messages/received", "received"}, {"publish/messages/sent", "sent"}, {"publish/messages/dropped", "lost"},
		{"publish/bytes/received", "payload received"}, {"publish/bytes/sent", "payload sent"},
	} {
		c.Subscribe(0, "$SYS/broker/"+v.topic)
		n, err := strconv.ParseUint(string(c.ExpectPublish().Payload), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		b[v.what] = n
	}
	return b
}

// sums is a book that is written while others read it.
type sums struct {
	mu   sync.Mutex
	book book
}

func (s *sums) count(change func(book)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.book)
}

func (s *sums) books() book {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.book)
}

// statsdSums is a StatsD server.
type statsdSums struct {
	sums
	path string
}

func newStatsdSums(t *testing.T) *statsdSums {
	dir, err := os.MkdirTemp("", "eb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &statsdSums{path: filepath.Join(dir, "statsd"), sums: sums{book: book{}}}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for buf := make([]byte, 64<<10); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.take(buf[:n])
		}
	}()
	return s
}

// take adds up the counters of a datagram.
func (s *statsdSums) take(datagram []byte) {
	for lines := bufio.NewScanner(bytes.NewReader(datagram)); lines.Scan(); {
		name, rest, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "edgebroker."), ":")
		text, counter := strings.CutSuffix(rest, "|c")
		n, err := strconv.ParseUint(text, 10, 64)
		if !counter || err != nil {
			continue
		}
		name, label, _ := strings.Cut(name, ".")
		s.count(func(b book) { b.add(name, label, n) })
	}
}

// newEventSums counts the events of connections.
func newEventSums(t *testing.T, b *broker) *sums {
	s := &sums{book: book{}}
	count := func(what string) { s.count(func(b book) { b[what]++ }) }
	t.Cleanup(b.On(string(events.Connection), func(events.Event) { count("accepted") }))
	t.Cleanup(b.On(string(events.Disconnection), func(e events.Event) { count("ended: " + e.Data.(events.DisconnectionData).Reason) }))
	return s
}
