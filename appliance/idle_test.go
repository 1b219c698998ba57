package appliance_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/wire"
)

// pipes is a listener whose connections lie in memory, so that a whole broker can
// run by a simulated clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1883} }

// device is a client at the other end of a pipe.
type device struct {
	*testing.T
	net.Conn
}

// connect connects a client with that keep alive, in seconds.
func (p *pipes) connect(t *testing.T, id string, keepAlive uint16) device {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- ours
	t.Cleanup(func() { theirs.Close() })
	d := device{t, theirs}
	if f := d.ask(wire.AppendConnect(nil, &wire.Connect{Version: wire.V311, CleanStart: true, KeepAlive: keepAlive, ClientID: id})); f.Type != wire.CONNACK {
		t.Fatalf("got %v", f.Type)
	}
	return d
}

// ask sends a packet and returns the next one that comes.
func (d device) ask(packet []byte) wire.Frame {
	d.Helper()
	if _, err := d.Write(packet); err != nil {
		d.Fatal(err)
	}
	return d.next()
}

func (d device) next() wire.Frame {
	d.Helper()
	var in []byte
	for buf := make([]byte, 1); ; {
		if _, err := d.Read(buf); err != nil {
			d.Fatal(err)
		}
		in = append(in, buf[0])
		f, n, err := wire.Scan(in, 0)
		if err != nil {
			d.Fatal(err)
		}
		if n > 0 {
			return f
		}
	}
}

// simulated starts a broker, with a store, by the clock of a bubble.
func simulated(t *testing.T, change func(*appliance.Config)) (*appliance.Broker, *pipes) {
	t.Helper()
	cfg := appliance.DefaultConfig()
	cfg.Storage.Directory = filepath.Join(t.TempDir(), "data")
	anybody := true
	cfg.Listeners = []appliance.ListenerConfig{{Name: "pipes", Type: "tcp", Address: "systemd:pipes", AllowAnonymous: &anybody}}
	if change != nil {
		change(&cfg)
	}
	p := newPipes()
	// So much that what other tests have left behind is no growth.
	machine := fstest.MapFS{"proc/meminfo": {Data: []byte("MemTotal: 67108864 kB\n")}}
	b, err := appliance.New(cfg, appliance.WithoutControl(), appliance.WithMachine(machine), appliance.WithoutClock(), appliance.WithSockets([]systemd.Socket{{Name: "pipes", Listener: p}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b, p
}

// switches is about how often a goroutine of this process has begun to run: one in
// eight is in the histogram.
func switches() (n uint64) {
	s := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(s)
	for _, c := range s[0].Value.Float64Histogram().Counts {
		n += 8 * c
	}
	return n
}

// TestIdle: a broker with 100 clients of which nothing comes but the PINGREQs of
// their keep alive, one in ten minutes, sleeps.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := simulated(t, nil)
		var devices []device
		for i := range 100 {
			devices = append(devices, p.connect(t, fmt.Sprint("idle", i), 600))
		}
		time.Sleep(time.Minute)
		synctest.Wait()

		wakes, runs := b.Rest().Wakes(), switches()
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		// Once a minute, for several jobs at a time; whatever else does something again
		// and again without knowing Rest is found by how often goroutines run.
		if n := b.Rest().Wakes() - wakes; n > 4 {
			t.Errorf("%d wake-ups in four minutes of silence", n)
		}
		if n := switches() - runs; n > 200 {
			t.Errorf("about %d times a goroutine began to run in four minutes of silence", n)
		}

		wakes = b.Rest().Wakes()
		for i := range 600 {
			if f := devices[i%len(devices)].ask(wire.AppendPing(nil, wire.PINGREQ)); f.Type != wire.PINGRESP {
				t.Fatalf("got %v", f.Type)
			}
			time.Sleep(6 * time.Second)
		}
		// And the keep-alive wheel, which looks when the first client could be overdue.
		if n := b.Rest().Wakes() - wakes; n > 60+15 {
			t.Errorf("%d wake-ups in an hour of keep alive", n)
		}
		if n := b.Stats().ClientCount; n != 100 {
			t.Errorf("%d clients are left", n)
		}
	})
}

// TestIdleSys: who subscribes to $SYS after an hour of rest gets the values of now,
// and new ones as long as it stays; then there is rest again.
func TestIdleSys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := simulated(t, nil)
		began := time.Now()
		d := p.connect(t, "monitor", 0)
		for range 3 {
			time.Sleep(time.Hour + 1234*time.Millisecond)
			filter := wire.Filter{Filter: "$SYS/broker/uptime"}
			if _, err := d.Write(wire.AppendSubscribe(nil, wire.V311, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{filter}})); err != nil {
				t.Fatal(err)
			}
			for got := 0; got < 10; {
				f := d.next()
				if f.Type != wire.PUBLISH {
					continue
				}
				m, err := wire.DecodeDelivery(f, wire.V311)
				if err != nil {
					t.Fatal(err)
				}
				var uptime int
				if _, err := fmt.Sscanf(string(m.Payload), "%d seconds", &uptime); err != nil {
					t.Fatalf("uptime %q: %v", m.Payload, err)
				}
				if is := int(time.Since(began).Seconds()); uptime < is-1 || uptime > is {
					t.Errorf("told an uptime of %d s at %d s", uptime, is)
				}
				if got++; got == 10 && time.Now().UnixNano()%int64(10*time.Second) != 0 {
					t.Errorf("told at %v, not at a multiple of 10 s", time.Now())
				}
			}
			if f := d.ask(wire.AppendUnsubscribe(nil, wire.V311, &wire.Unsubscribe{PacketID: 2, Filters: []string{"$SYS/broker/uptime"}})); f.Type != wire.UNSUBACK {
				t.Fatalf("got %v", f.Type)
			}
			time.Sleep(time.Minute)
			wakes := b.Rest().Wakes()
			time.Sleep(time.Hour)
			if n := b.Rest().Wakes() - wakes; n > 62 {
				t.Errorf("%d wake-ups in an hour after it has unsubscribed", n)
			}
		}
	})
}

// TestIdleRates: what is told of an hour of rest after a burst, and of a burst after
// an hour of rest, is what it would be with a look every five seconds.
func TestIdleRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := simulated(t, nil)
		d := p.connect(t, "sensor", 0)
		burst := func() {
			for range 600 {
				if _, err := d.Write(wire.AppendPublish(nil, &wire.Out{Version: wire.V311, Topic: []byte("a"), Payload: []byte("b")}, 0)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		burst()
		// Ten a second for a minute, and then nothing: 1 - 1/e of it, less 1/e a minute.
		for minutes, want := range []float64{6.32, 2.33, 0.86} {
			time.Sleep(5 * time.Second)
			if got := b.Stats().Rates.Received.Min1; got > 1.05*want || got < 0.85*want {
				t.Errorf("%d minutes after a burst the rate of the last is %.2f, want about %.2f", minutes, got, want)
			}
			time.Sleep(55 * time.Second)
		}
		time.Sleep(time.Hour)
		if got := b.Stats().Rates.Received.Min1; got > 0.0001 {
			t.Errorf("an hour after a burst the rate is %v", got)
		}
		time.Sleep(time.Hour)
		burst()
		time.Sleep(5 * time.Second)
		if got := b.Stats().Rates.Received.Min1; got > 6.5 || got < 5.5 {
			t.Errorf("after a burst that followed on two hours of rest the rate is %.2f", got)
		}
	})
}

// TestEverythingStirs: after an hour of rest each kind of activity, other than a
// PINGREQ, has memory looked at within a second.
func TestEverythingStirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := simulated(t, nil)
		d := p.connect(t, "device", 0)
		send := func(packet []byte) {
			if _, err := d.Write(packet); err != nil {
				t.Fatal(err)
			}
		}
		var other device
		for _, c := range []struct {
			what  string
			do    func()
			stirs bool
		}{
			{"ping", func() { d.ask(wire.AppendPing(nil, wire.PINGREQ)) }, false},
			{"publish", func() {
				send(wire.AppendPublish(nil, &wire.Out{Version: wire.V311, Topic: []byte("a")}, 0))
			}, true},
			{"part of a packet", func() { send([]byte{0x30, 5, 0}) }, true},
			{"the rest of it", func() { send([]byte{1, 'a', 'b', 'c'}) }, true},
			{"two pings", func() { send([]byte{0xc0, 0, 0xc0, 0}); d.next(); d.next() }, true},
			{"subscribe", func() {
				d.ask(wire.AppendSubscribe(nil, wire.V311, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: "b"}}}))
			}, true},
			{"connect", func() { other = p.connect(t, "other", 0) }, true},
			{"hang up", func() { other.Close() }, true},
			{"publish of the program", func() {
				if err := b.Publish(context.Background(), appliance.Message{Topic: "a"}); err != nil {
					t.Fatal(err)
				}
			}, true},
			{"reload", func() { _, _ = b.Reload(context.Background()) }, true},
		} {
			time.Sleep(time.Hour)
			time.Sleep(10*time.Minute + 300*time.Millisecond) // between two looks
			before := b.Rest().Wakes()
			c.do()
			time.Sleep(time.Second)
			synctest.Wait()
			if got := b.Rest().Wakes() > before; got != c.stirs {
				t.Errorf("%s: woken %v, want %v", c.what, got, c.stirs)
			}
		}
	})
}
