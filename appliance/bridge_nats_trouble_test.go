package appliance_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// line is a connection between an uplink and a NATS server that can fail in
// one direction.
type line struct {
	net.Listener
	to   string
	mute atomic.Bool // what the server says does not arrive
	wg   sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{Listener: l, to: to, open: make(map[net.Conn]bool)}
	n.wg.Go(n.run)
	t.Cleanup(func() { l.Close(); n.cut(); n.wg.Wait() })
	return n
}

func (n *line) run() {
	for {
		near, err := n.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", n.to)
		if err != nil {
			near.Close()
			continue
		}
		n.mu.Lock()
		n.open[near], n.open[far] = true, true
		n.mu.Unlock()
		n.wg.Go(func() { n.copy(far, near, false) })
		n.wg.Go(func() { n.copy(near, far, true) })
	}
}

func (n *line) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 4096)
	for {
		k, err := from.Read(b)
		if err != nil {
			return
		}
		w := io.Writer(to)
		if answers && n.mute.Load() {
			w = io.Discard
		}
		if _, err := w.Write(b[:k]); err != nil {
			return
		}
	}
}

func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.open {
		c.Close()
	}
	clear(n.open)
}

// forgotten waits until a stream has forgotten the identifiers that it has now:
// another one, with the same window, forgets one of later.
func forgotten(t testing.TB, js jetstream.JetStream, window time.Duration) {
	t.Helper()
	makeStream(t, js, jetstream.StreamConfig{Name: "CLOCK", Subjects: []string{"clock"}, Duplicates: window})
	for round := range 3 {
		id := jetstream.WithMsgID(fmt.Sprint(round, time.Now().UnixNano()))
		if _, err := js.Publish(t.Context(), "clock", nil, id); err != nil {
			t.Fatal(err)
		}
		brokertest.WaitFor(t, "a stream that forgets", func() bool {
			ack, err := js.Publish(t.Context(), "clock", nil, id)
			return err == nil && !ack.Duplicate
		})
	}
}

func messages(t testing.TB, s jetstream.Stream) int {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(info.State.Msgs)
}

// What the stream has and has not been heard to have is not sent again, long
// after the stream has forgotten about it: whether the line fails or the gateway
// is started anew.
func TestUplinkNATSResumesBeyondTheWindow(t *testing.T) {
	const window = 100 * time.Millisecond
	for _, only := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("only writer %v, restart %v", only, restart), func(t *testing.T) {
				brokertest.NoLeaks(t)
				o := natsOptions(t)
				s := natsServer(t, o)
				_, js := natsClient(t, s)
				stream := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, Duplicates: window})
				cut := newLine(t, s.Addr().String())
				cfg := config(t)
				cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
				cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2})}
				b := &cfg.Bridges[0]
				b.Address, b.NATS.OnlyWriter, b.NATS.Window = "nats://"+cut.Addr().String(), only, 16
				near := launch(t, cfg)
				is(t, near, bridge.Up)
				n := 0
				publish := func(count int) {
					pub := client(t, near, "pub")
					for range count {
						pub.Publish(fmt.Sprint("t/", n%20), fmt.Sprint(n), 1+byte(n/7%2), false)
						n++
					}
					pub.Disconnect()
				}
				for range 3 {
					publish(30)
					relayed(t, near)
					before := messages(t, stream)
					cut.mute.Store(true)
					publish(30)
					brokertest.WaitFor(t, "as much in the stream as may be on its way", func() bool { return messages(t, stream) == before+16 })
					forgotten(t, js, window)
					if restart {
						stop(t, near)
					}
					cut.cut()
					cut.mute.Store(false)
					if restart {
						near = launch(t, cfg)
					}
				}
				publish(30)
				relayed(t, near)
				order(t, inStream(t, stream), n)
			})
		}
	}
}

// What a stream refuses for now goes later, in order; what it can never take is
// refused and holds up nothing.
func TestUplinkNATSRefused(t *testing.T) {
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprintf("only writer %v", only), func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			s := natsServer(t, o)
			_, js := natsClient(t, s)
			sc := jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, MaxMsgs: 3, Discard: jetstream.DiscardNew, MaxMsgSize: 4000}
			stream := makeStream(t, js, sc)
			makeStream(t, js, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}})
			cfg := config(t)
			cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2})}
			cfg.Bridges[0].NATS.OnlyWriter = only
			near := launch(t, cfg)
			is(t, near, bridge.Up)
			pub := client(t, near, "pub")
			n := 0
			publish := func(count int) {
				for range count {
					pub.Publish(fmt.Sprint("t/", n%2), fmt.Sprint(n), 1+byte(n%2), false)
					n++
				}
			}
			publish(12)
			if st := is(t, near, bridge.Stalled); !strings.Contains(st.Why, "maximum messages exceeded") {
				t.Errorf("why: %s", st.Why)
			}
			for sc.MaxMsgs < 12 {
				sc.MaxMsgs += 3
				makeStream(t, js, sc)
				brokertest.WaitFor(t, "more in the stream", func() bool { return messages(t, stream) == int(sc.MaxMsgs) })
			}
			sc.MaxMsgs = 1000
			makeStream(t, js, sc)
			is(t, near, bridge.Up)
			publish(5)
			for _, topic := range []string{"nowhere/1", "other", "nowhere/2"} {
				pub.Publish(topic, "0", 1, false)
			}
			pub.Publish("t/0", strings.Repeat("x", 5000), 2, false)
			pub.Publish("t/0", strings.Repeat("x", 70<<10), 2, false)
			publish(5)
			relayed(t, near)
			order(t, inStream(t, stream), n)
			if st := near.Uplinks()[0]; st.Refused != 5 || st.Connects != 1 {
				t.Errorf("%d refused, %d connects; want 5, 1", st.Refused, st.Connects)
			}
			is(t, near, bridge.Up)
		})
	}
}

// A stream that has no room for a large message takes the small one after it; it
// must not come before the large one.
func TestUplinkNATSKeepsOrder(t *testing.T) {
	for _, only := range []bool{false, true} {
		t.Run(fmt.Sprintf("only writer %v", only), func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			s := natsServer(t, o)
			_, js := natsClient(t, s)
			sc := jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, MaxBytes: 5000, Discard: jetstream.DiscardNew}
			stream := makeStream(t, js, sc)
			cfg := config(t)
			cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "#", QoS: 2})}
			cfg.Bridges[0].NATS.OnlyWriter = only
			near := launch(t, cfg)
			is(t, near, bridge.Up)
			n := 0
			publish := func(count int) {
				pub := client(t, near, "pub")
				for range count {
					room := 1
					if n%4 == 2 {
						room = 4000
					}
					pub.Publish("t/0", fmt.Sprintf("%*d", room, n), 1+byte(n/10%2), false)
					n++
				}
				pub.Disconnect()
			}
			publish(20)
			is(t, near, bridge.Stalled)
			for range 3 {
				before := messages(t, stream)
				sc.MaxBytes += 7000
				makeStream(t, js, sc)
				brokertest.WaitFor(t, "more in the stream", func() bool { return messages(t, stream) > before })
			}
			sc.MaxBytes = 1 << 20
			makeStream(t, js, sc)
			relayed(t, near)
			order(t, inStream(t, stream), n)
		})
	}
}

// What comes in from a stream comes while the gateway is away as well, in order,
// and is taken from the stream only when this broker has it.
func TestUplinkFromStream(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"gw1.>"}})
	if _, err := js.Publish(t.Context(), "gw1.set.x", []byte("long ago")); err != nil {
		t.Fatal(err)
	}
	cut := newLine(t, s.Addr().String())
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "near")
	cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S",
		appliance.BridgeTopic{Filter: "set/#", QoS: 2, Direction: appliance.BridgeBoth, RemotePrefix: "gw1/"},
		appliance.BridgeTopic{Filter: "set/+/now", QoS: 0, Direction: appliance.BridgeIn, RemotePrefix: "gw1/"})}
	cfg.Bridges[0].Address = "nats://" + cut.Addr().String()
	cfg.Bridges[0].AckTimeout = time.Second
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	keeper := brokertest.Dial(t, address(near), brokertest.Kept(wire.V5, "keeper"))
	keeper.Subscribe(2, "#")
	keeper.Disconnect()
	n := 0
	publish := func(count int) {
		for range count {
			if _, err := js.Publish(t.Context(), "gw1.set.x", []byte(strconv.Itoa(n))); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	taken := func() {
		t.Helper()
		brokertest.WaitFor(t, "everything to be taken in", func() bool {
			c, err := stream.Consumer(t.Context(), "gateway")
			return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
		})
	}
	for range 2 {
		publish(300)
		stop(t, near)
		publish(20)
		near = launch(t, cfg)
		publish(20)
		cut.cut()
		publish(20)
		if _, err := js.Publish(t.Context(), "gw1.set.a//+", []byte("no topic is called so")); err != nil {
			t.Fatal(err)
		}
		taken()
	}
	client(t, near, "pub").Publish("set/own", "mine", 1, false) // goes out and does not come back
	relayed(t, near)
	taken()
	keeper = brokertest.Dial(t, address(near), brokertest.Kept(wire.V5, "keeper")).AutoAck()
	for next := 0; next < n; {
		d := keeper.ExpectPublish()
		got, err := strconv.Atoi(string(d.Payload))
		if err != nil {
			t.Fatalf("got %s %q", d.Topic, d.Payload)
		}
		switch { // what was not acknowledged comes again, in order
		case got > next:
			t.Fatalf("got %d; want %d", got, next)
		case got == next:
			next++
		}
	}
	keeper.ExpectMessage("set/own", "mine")
	keeper.ExpectNothing()
	if st := near.Uplinks()[0]; st.Refused == 0 {
		t.Errorf("got %+v", st)
	}
}
