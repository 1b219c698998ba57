package statsd_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"pgregory.net/rapid"
)

// collector is a StatsD server: it adds counters up and keeps gauges.
type collector struct {
	counters, gauges map[string]float64
	datagrams        int
}

func newCollector() *collector {
	return &collector{counters: make(map[string]float64), gauges: make(map[string]float64)}
}

// take reads one datagram the way servers do.
func (c *collector) take(t tb, datagram string) {
	t.Helper()
	c.datagrams++
	if len(datagram) > statsd.MaxDatagram {
		t.Fatalf("a datagram of %d bytes", len(datagram))
	}
	for line := range strings.SplitSeq(datagram, "\n") {
		name, rest, ok := strings.Cut(line, ":")
		parts := strings.Split(rest, "|")
		v, err := strconv.ParseFloat(parts[0], 64)
		if !ok || len(parts) < 2 || err != nil || name == "" {
			t.Fatalf("bad line %q", line)
		}
		if len(parts) > 2 {
			name += "|" + parts[2]
		}
		switch signed := strings.ContainsAny(parts[0][:1], "+-"); {
		case parts[1] == "c":
			c.counters[name] += v
		case parts[1] == "g" && signed:
			c.gauges[name] += v
		case parts[1] == "g":
			c.gauges[name] = v
		default:
			t.Fatalf("bad line %q", line)
		}
	}
}

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newPusher(t tb, o statsd.PushOptions, first statsd.Snapshot, read func() statsd.Snapshot) *statsd.Pusher {
	t.Helper()
	if o.Address == "" {
		o.Address = "udp://127.0.0.1:9"
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Tags == "" {
		o.Tags = statsd.TagsNone
	}
	p, err := statsd.NewPusher(o, &first, read)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return p
}

// Whatever datagrams fail to be sent, what arrives adds up to what was counted.
func TestPushLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := statsd.Snapshot{Dropped: statsd.Dropped{ByReason: map[string]uint64{"expired": 100}}} // from an earlier process
		s := first
		s.Disconnections, s.Dropped.ByReason = map[string]uint64{}, maps.Clone(first.Dropped.ByReason)
		p := newPusher(t, statsd.PushOptions{Prefix: "eb"}, first, func() statsd.Snapshot { return s })
		c, failed, tried := newCollector(), 0, 0
		var failing bool
		p.SetSend(func(d []byte) error {
			tried++
			if failing && rapid.Bool().Draw(t, "fails") {
				failed++
				return errors.New("no room")
			}
			c.take(t, string(d))
			return nil
		})
		for range rapid.IntRange(0, 10).Draw(t, "reports") {
			s.Received.QoS1 += rapid.Uint64Range(0, 3).Draw(t, "received")
			s.Sent.Bytes += rapid.Uint64Range(0, 1<<40).Draw(t, "bytes")
			s.Dropped.ByReason["expired"] += rapid.Uint64Range(0, 3).Draw(t, "expired")
			word := rapid.SampledFrom([]string{"normal", "tcp_closed", "kicked", "Bad word"}).Draw(t, "why")
			s.Disconnections[word]++
			s.ClientCount = rapid.Int64Range(0, 100).Draw(t, "clients")
			failing = true
			p.Push()
		}
		failing = false
		p.Push()
		want := map[string]float64{"eb.publish_received.1": float64(s.Received.QoS1), "eb.sent_bytes": float64(s.Sent.Bytes),
			"eb.messages_dropped.expired": float64(s.Dropped.ByReason["expired"] - 100)}
		for word, n := range s.Disconnections {
			if word == "Bad word" {
				word = "other"
			}
			want["eb.disconnections."+word] = float64(n)
		}
		for name, n := range want {
			if c.counters[name] != n {
				t.Fatalf("%s is %v, want %v", name, c.counters[name], n)
			}
			delete(c.counters, name)
		}
		for name, n := range c.counters {
			t.Fatalf("%s is %v, want nothing", name, n)
		}
		if c.gauges["eb.clients_connected"] != float64(s.ClientCount) {
			t.Fatalf("%v clients, want %d", c.gauges["eb.clients_connected"], s.ClientCount)
		}
		if got := p.Stats(); got.Datagrams != uint64(tried-failed) || got.Dropped != uint64(failed) {
			t.Fatalf("%+v of %d datagrams, %d failed", got, tried, failed)
		}
	})
}

// Every datagram is within bounds and holds whole texts, in order.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 60).Draw(t, "limit")
		texts := rapid.SliceOf(rapid.StringMatching(`[a-z]{1,30}(\n[a-z]{1,30})?`)).Draw(t, "texts")
		datagrams, ranges, left := statsd.Pack(texts, limit)
		at, missing := 0, 0
		for i, d := range datagrams {
			from, to := ranges[i][0], ranges[i][1]
			for ; at < from; at++ {
				if len(texts[at]) <= limit {
					t.Fatalf("%q was left out", texts[at])
				}
				missing++
			}
			if want := strings.Join(texts[from:to], "\n"); len(d) > limit || d != want || from >= to {
				t.Fatalf("datagram %q of %d bytes for %q", d, len(d), want)
			}
			if at = to; i > 0 && ranges[i-1][1] == from && len(datagrams[i-1])+1+len(texts[from]) <= limit {
				t.Fatalf("%q had room for %q", datagrams[i-1], texts[from])
			}
		}
		for ; at < len(texts); at++ {
			if len(texts[at]) <= limit {
				t.Fatalf("%q was left out", texts[at])
			}
			missing++
		}
		if missing != left {
			t.Fatalf("%d left out, said to be %d", missing, left)
		}
	})
}

func TestStatsdNames(t *testing.T) {
	const evil = "a:b|c@d#e,f;g=h\ni\r\x00j k\"l'm%n" + "ö\xff.o/p-q_r"
	const tame = "a_b_c_d_e_f_g_h_i__j_k_l_m_n__.o/p-q_r"
	for _, tt := range []struct {
		style      statsd.TagStyle
		head, tail string
	}{
		{statsd.TagsNone, "eb.x." + strings.ReplaceAll(tame, ".", "_") + "._", ""},
		{statsd.TagsDogStatsD, "eb.x", "|#a:1,site:" + tame + ",k:" + tame + ",l:_"},
		{statsd.TagsInflux, "eb.x,a=1,site=" + tame + ",k=" + tame + ",l=_", ""},
		{statsd.TagsGraphite, "eb.x;a=1;site=" + tame + ";k=" + tame + ";l=_", ""},
	} {
		head, tail := statsd.StatsdName("eb", tt.style, map[string]string{"site": evil, "a": "1"}, "x_total", []string{"k", "l"}, []string{evil, ""})
		if head != tt.head || tail != tt.tail {
			t.Errorf("%s:\ngot  %s %s\nwant %s %s", tt.style, head, tail, tt.head, tt.tail)
		}
	}
	if head, tail := statsd.StatsdName("", statsd.TagsDogStatsD, nil, "x", nil, nil); head != "x" || tail != "" {
		t.Errorf("without prefix and tags: %q %q", head, tail)
	}
}

// No text can break out of its place in a line.
func FuzzTagText(f *testing.F) {
	f.Add("a:b|c@d#e,f;g=h\n")
	f.Add("")
	allowed := regexp.MustCompile(`\A[A-Za-z0-9_./-]+\z`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := statsd.TagText(s); !allowed.MatchString(got) || allowed.MatchString(s) && got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

// A sign would make a gauge a difference.
func TestGauges(t *testing.T) {
	c := newCollector()
	for _, v := range []float64{5, -3, -3, math.Copysign(0, -1), 0.25, 1 << 50} {
		c.take(t, statsd.GaugeText("g", v))
		if c.gauges["g"] != v {
			t.Errorf("%v arrives as %v", v, c.gauges["g"])
		}
	}
}

func TestParsePushAddress(t *testing.T) {
	for address, want := range map[string]string{
		"udp://127.0.0.1:8125": "udp 127.0.0.1:8125", "udp://[::1]:8125": "udp [::1]:8125", "udp://collector.plant:1": "udp collector.plant:1",
		"unixgram:/run/s.sock": "unixgram /run/s.sock", "unixgram:///run/s.sock": "unixgram /run/s.sock",
		"": "", "udp://": "", "udp://:8125": "", "udp://h": "", "udp://h:0": "", "udp://h:65536": "", "udp://h:statsd": "", "udp://a b:1": "",
		"udp://u@h:1": "", "udp://h:1/x": "", "tcp://h:1": "", "unixgram:s.sock": "", "unixgram:": "", "unixgram:/a\x00": "", "127.0.0.1:8125": "",
		"unixgram:/" + strings.Repeat("x", 200): "",
	} {
		network, where, err := statsd.ParsePushAddress(address)
		if got := strings.TrimSpace(network + " " + where); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
}

// receiveAll takes what has come to conn, which nobody sends to any more.
func receiveAll(t *testing.T, c *collector, conn net.PacketConn) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for want := -1; want != c.datagrams; {
		want = c.datagrams
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for {
			n, _, err := conn.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			c.take(t, string(buf[:n]))
		}
	}
}

// A server gets what a Snapshot says, by UDP.
func TestPushUDP(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := exampleSnapshot()
	p := newPusher(t, statsd.PushOptions{Address: "udp://" + server.LocalAddr().String(), Prefix: "eb", Tags: statsd.TagsDogStatsD,
		Labels: map[string]string{"site": "x"}}, statsd.Snapshot{}, func() statsd.Snapshot { return s })
	defer p.ClosePush()
	p.Push()
	s.Received.QoS0 += 5
	p.Push()
	c := newCollector()
	receiveAll(t, c, server)
	for name, want := range map[string]float64{
		"eb.publish_received|#site:x,qos:0": 1000005, "eb.publish_sent|#site:x,qos:2": 321, "eb.received_bytes|#site:x": 150000000,
		"eb.messages_dropped|#site:x,reason:queue_full": 40, "eb.connections|#site:x,result:refused": 17,
	} {
		if c.counters[name] != want {
			t.Errorf("%s is %v, want %v", name, c.counters[name], want)
		}
	}
	if c.gauges["eb.uptime_seconds|#site:x"] != s.Uptime || c.gauges["eb.journal_state|#site:x,state:full"] != 1 {
		t.Errorf("gauges %v", c.gauges)
	}
	if got := p.Stats(); got.Datagrams != uint64(c.datagrams) || got.Dropped != 0 {
		t.Errorf("%+v, %d received", got, c.datagrams)
	}
}

// A server behind a unix socket may be away, not read, and come back: nobody
// waits for it, and it misses nothing.
func TestPushUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "eb")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	listen := func() net.PacketConn {
		t.Helper()
		_ = os.Remove(path)
		conn, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var s statsd.Snapshot
	p := newPusher(t, statsd.PushOptions{Address: "unixgram:" + path}, s, func() statsd.Snapshot { return s })
	defer p.ClosePush()
	c := newCollector()
	push := func() {
		s.Received.QoS0++
		p.Push()
	}
	push() // nobody is there
	server := listen()
	push()
	receiveAll(t, c, server)
	if got := c.counters["publish_received.0"]; got != 2 {
		t.Errorf("%v after it has come, want 2", got)
	}
	before := p.Stats().Dropped
	for range 2000 { // more than fits into a socket that nobody reads
		push()
	}
	if p.Stats().Dropped == before {
		t.Error("a socket that nobody reads took everything")
	}
	receiveAll(t, c, server)
	push()
	receiveAll(t, c, server)
	if got := c.counters["publish_received.0"]; got != 2003 {
		t.Errorf("%v after it has read, want 2003", got)
	}
	server.Close()
	push() // to a socket that is closed
	server = listen()
	defer server.Close()
	push() // to the new one
	receiveAll(t, c, server)
	if got := c.counters["publish_received.0"]; got != 2005 {
		t.Errorf("%v after it has come back, want 2005", got)
	}
}

// A server that is away is worth two lines of log, however often it is tried.
func TestPushLog(t *testing.T) {
	var log brokertest.Log
	p := newPusher(t, statsd.PushOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}, statsd.Snapshot{}, func() statsd.Snapshot { return statsd.Snapshot{} })
	tries := 0
	p.SetSend(func([]byte) error {
		if tries++; tries < 20 && tries%2 == 0 { // as UDP does
			return errors.New("connection refused")
		}
		return nil
	})
	for range 30 {
		p.Push()
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "connection refused") || !strings.Contains(got, "again") {
		t.Errorf("the log:\n%s", got)
	}
}

// A name is looked up beside: a resolver that hangs holds up no report, ends by
// itself, and is asked again after failures only.
func TestPushLookup(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.LocalAddr().String())
	var s statsd.Snapshot
	p := newPusher(t, statsd.PushOptions{Address: "udp://collector.test:" + port}, s, func() statsd.Snapshot { return s })
	asked := 0
	p.SetLookup(func(_ context.Context, network, host string) ([]netip.Addr, error) {
		asked++
		if network != "ip" || host != "collector.test" {
			t.Errorf("asked for %s %s", network, host)
		}
		if asked == 1 {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	})
	s.Received.QoS0 = 3
	p.Look(t.Context())
	p.Push()
	if got := p.Stats(); got.Datagrams != 0 || got.Dropped == 0 {
		t.Errorf("sent to nowhere: %+v", got)
	}
	p.Look(t.Context())
	p.Push()
	p.Look(t.Context()) // it is known, and nothing has failed
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
	c := newCollector()
	receiveAll(t, c, server)
	if got := c.counters["publish_received.0"]; got != 3 {
		t.Errorf("%v, want 3", got)
	}
	p.ClosePush()
}

func TestPushRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var received atomic.Uint64
		p := newPusher(t, statsd.PushOptions{Interval: 10 * time.Second}, statsd.Snapshot{}, func() statsd.Snapshot {
			return statsd.Snapshot{Received: statsd.Traffic{QoS2: received.Load()}}
		})
		var mu sync.Mutex // guards c
		c := newCollector()
		p.SetSend(func(d []byte) error {
			mu.Lock()
			defer mu.Unlock()
			c.take(t, string(d))
			return nil
		})
		got := func() float64 {
			mu.Lock()
			defer mu.Unlock()
			return c.counters["publish_received.2"]
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for i := range 3 {
			received.Add(1)
			time.Sleep(10*time.Second + time.Millisecond)
			synctest.Wait()
			if n := got(); n != float64(i+1) {
				t.Errorf("%v after %d intervals", n, i+1)
			}
		}
		received.Add(4)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil || got() != 7 {
			t.Errorf("the last report: %v, %v", got(), err)
		}
	})
}

// A resolver that hangs is left behind after its time.
func TestPushLookupHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports, ended := 0, time.Duration(0)
		start := time.Now()
		p := newPusher(t, statsd.PushOptions{Address: "udp://collector.test:1", Interval: time.Second}, statsd.Snapshot{},
			func() statsd.Snapshot { reports++; return statsd.Snapshot{} })
		p.SetLookup(func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			if ended == 0 {
				ended = time.Since(start)
			}
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if reports != 10 || ended != 5*time.Second {
			t.Errorf("%d reports in 10s, the lookup ended after %v", reports, ended)
		}
		cancel()
		<-done
	})
}
