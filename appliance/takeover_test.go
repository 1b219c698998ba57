package appliance_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// lives follows connections from their event to the event of their end.
type lives struct {
	mu       sync.Mutex
	open     map[string]events.Event // by client and remote address
	began    int
	ended    map[string]int // by reason word
	problems []string
}

// follow watches every connection of a broker from now on.
func follow(b interface {
	On(string, func(events.Event)) func()
}) *lives {
	l := &lives{open: map[string]events.Event{}, ended: map[string]int{}}
	b.On("*", func(e events.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch d := e.Data.(type) {
		case events.ConnectionData:
			key := d.ClientID + " at " + d.Remote
			if _, twice := l.open[key]; twice || e.Source != d.ClientID {
				l.problems = append(l.problems, "bad connection event: "+key)
			}
			l.open[key] = e
			l.began++
		case events.DisconnectionData:
			key := d.ClientID + " at " + d.Remote
			began, ok := l.open[key]
			c, _ := began.Data.(events.ConnectionData)
			if !ok || e.Time.Before(began.Time) || c.Listener != d.Listener || c.Protocol != d.Protocol || c.Username != d.Username {
				l.problems = append(l.problems, fmt.Sprintf("bad disconnection event of %s: %+v", key, d))
			}
			delete(l.open, key)
			l.ended[d.Reason]++
		}
	})
	return l
}

// counts returns how many connections have begun and ended.
func (l *lives) counts() (began, ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began, l.began - len(l.open)
}

// reason is how many connections have ended with a reason word.
func (l *lives) reason(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended[word]
}

// check fails the test unless every connection is paired, but for those open.
func (l *lives) check(t testing.TB, began, open int) {
	t.Helper()
	brokertest.WaitFor(t, fmt.Sprintf("%d connections to begin and all but %d to end", began, open), func() bool {
		b, e := l.counts()
		return b >= began && b-e <= open
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began != began || len(l.open) != open {
		t.Errorf("%d connections began, want %d; %d are open, want %d", l.began, began, len(l.open), open)
	}
	for _, p := range l.problems {
		t.Error(p)
	}
}

// contender is one connection of a storm, as its client sees it.
type contender struct {
	nc       net.Conn
	version  wire.Version
	accepted bool          // CONNACK said success
	told     wire.Reason   // by DISCONNECT
	heard    chan string   // payloads of messages; room for one
	over     chan struct{} // closed with CONNACK, or the end of the connection
	err      error
}

// contend connects, reads until the broker closes, and closes.
func (c *contender) contend(con *wire.Connect) {
	defer c.nc.Close()
	over := sync.OnceFunc(func() { close(c.over) })
	defer over()
	if _, c.err = c.nc.Write(wire.AppendConnect(nil, con)); c.err != nil {
		return
	}
	var buf []byte
	for {
		f, n, err := wire.Scan(buf, 0)
		if err != nil {
			c.err = err
			return
		}
		if n == 0 {
			var page [512]byte
			k, err := c.nc.Read(page[:])
			if buf = append(buf, page[:k]...); err != nil {
				if err != io.EOF {
					c.err = err
				}
				return
			}
			continue
		}
		switch f.Type {
		case wire.CONNACK:
			ack, err := wire.DecodeConnack(f, c.version)
			if c.err = err; err == nil && ack.Reason == wire.Success {
				c.accepted = true
			}
			over()
		case wire.DISCONNECT:
			d, err := wire.DecodeServerDisconnect(f, c.version)
			c.told, c.err = d.Reason, err
		case wire.PUBLISH:
			d, err := wire.DecodeDelivery(f, c.version)
			c.err = err
			c.heard <- string(d.Payload)
		}
		buf = buf[n:]
	}
}

// descriptors is how many files this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Of many connections with one client id the last one in owns the session and
// hears what it subscribes to; of the others nothing is left. Clean and kept
// sessions and all versions are mixed. When all come in the same moment most
// are turned away while they wait for their turn; when each comes as soon as
// the one before has been let in, all are let in and taken over.
func TestTakeoverStorm(t *testing.T) {
	most := 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if room := int(min(limit.Cur, 1<<20)); room < 2*most+200 { // both ends are here
		most = (room - 200) / 2
		t.Logf("only %d connections at once: %d files may be open", most, limit.Cur)
	}
	rounds := []bool{false, true}
	cfg := config(t)
	cfg.Limits.MaxUnauthenticated = 2 * most // those that wait for their turn
	cfg.Limits.ConnectTimeout = time.Hour    // they do so for longer on a slow machine
	cfg.Events.Queue = 10 * most
	b := start(t, cfg)
	lives := follow(b)
	publisher := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "publisher"))
	open := descriptors(t)
	let := 1 // connections let in, the publisher among them
	for round, inTurn := range rounds {
		n := storm(t, b, publisher, fmt.Sprint("round/", round), most, inTurn)
		if inTurn && n != most {
			t.Errorf("%d of %d connections were let in", n, most)
		}
		let += n
		lives.check(t, let, 1)
	}
	if got := lives.reason("takenover"); got != let-1-len(rounds) {
		t.Errorf("%d connections were taken over, want %d; all: %v", got, let-1-len(rounds), lives.ended)
	}
	if got := lives.reason("tcp_closed"); got != len(rounds) {
		t.Errorf("%d winners closed, want %d", got, len(rounds))
	}
	brokertest.WaitFor(t, "every socket to be closed", func() bool { return descriptors(t) <= open })
	brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V311, "storm")).Disconnect() // ends a session that was kept
	publisher.Disconnect()
	brokertest.WaitFor(t, "the broker to forget everybody", func() bool {
		s := b.Stats()
		return b.ServerClients() == 0 && s.Sessions.Total == 0 && s.ClientCount == 0 && s.Subscriptions.Total == 0
	})
}

// storm has n connections contend for one client id, and returns how many of
// them were let in at some time. The last one must hear the publisher.
func storm(t *testing.T, b *appliance.Broker, publisher *brokertest.Client, topic string, n int, inTurn bool) (let int) {
	t.Helper()
	versions := []wire.Version{wire.V31, wire.V311, wire.V5}
	all := make([]*contender, n)
	gone := make(chan *contender, n)
	for i := range all {
		nc, err := net.Dial("tcp", b.Addr("tcp"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		all[i] = &contender{nc: nc, version: versions[i%3], heard: make(chan string, 1), over: make(chan struct{})}
	}
	var group sync.WaitGroup
	for i, c := range all {
		con := brokertest.Clean(c.version, "storm")
		if i%2 == 0 {
			con = brokertest.Kept(c.version, "storm")
		}
		con.Will = &wire.Will{Topic: "will", Payload: []byte("x")}
		group.Go(func() {
			if inTurn && i > 0 {
				<-all[i-1].over
			}
			c.contend(&con)
			gone <- c
		})
	}
	losers := map[*contender]bool{}
	for len(losers) < n-1 {
		select {
		case c := <-gone:
			losers[c] = true
		case <-t.Context().Done():
			t.Fatal("the test ends")
		}
	}
	var winner *contender
	for _, c := range all {
		if !losers[c] {
			winner = c
		}
	}
	// The winner's frames are read by its contender, so the broker tells when
	// it has subscribed.
	sub := wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: topic}}}
	if _, err := winner.nc.Write(wire.AppendSubscribe(nil, winner.version, &sub)); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the winner's subscription", func() bool {
		c, _ := b.Client("storm")
		return c.Connected && slices.Contains(c.Filters, statsd.ClientFilter{Filter: topic})
	})
	publisher.Publish(topic, "are you there?", 1, false)
	select {
	case got := <-winner.heard:
		if got != "are you there?" {
			t.Errorf("%s: the winner heard %q", topic, got)
		}
	case <-time.After(brokertest.Patience):
		t.Fatalf("%s: the winner is deaf", topic)
	}
	if clients := b.Clients(); len(clients) != 2 {
		t.Errorf("%s: %d clients, want the winner and the publisher", topic, len(clients))
	}
	if got := b.ServerClients(); got != 0 {
		t.Errorf("%s: the server holds %d clients, want none: it lets go of those that it has let in", topic, got)
	}
	winner.nc.Close()
	group.Wait()
	for _, c := range all {
		if c.accepted {
			let++
		}
		if c != winner && c.err != nil {
			t.Errorf("%s: %v", topic, c.err)
		}
		if c != winner && c.accepted && c.version == wire.V5 && c.told != wire.SessionTakenOver {
			t.Errorf("%s: a v5 client was told %v", topic, c.told)
		}
	}
	return let
}

// A takeover of a kept session keeps the subscriptions and what waits; a
// v5 session with expiry 0 ends with its connection, taken over or not.
func TestTakeoverSession(t *testing.T) {
	for _, tc := range []struct {
		name    string
		connect wire.Connect
		present bool
	}{
		{"kept 3.1.1", brokertest.Kept(wire.V311, "c"), true},
		{"kept 5", brokertest.Kept(wire.V5, "c"), true},
		{"5 with expiry 0", wire.Connect{Version: wire.V5, ClientID: "c"}, false},
		{"clean 5", brokertest.Clean(wire.V5, "c"), false},
		{"clean 3.1.1", brokertest.Clean(wire.V311, "c"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, config(t))
			first := brokertest.Dial(t, b.Addr("tcp"), tc.connect)
			first.Subscribe(1, "t")
			second := brokertest.Dial(t, b.Addr("tcp"), tc.connect)
			first.ExpectClosed()
			if second.Connack.SessionPresent != tc.present {
				t.Errorf("session present is %v", second.Connack.SessionPresent)
			}
			brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "p")).Publish("t", "x", 1, false)
			if tc.present {
				second.ExpectMessage("t", "x")
			} else {
				second.ExpectNothing()
			}
		})
	}
}
