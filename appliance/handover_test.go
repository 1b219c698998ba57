package appliance_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/wire"
)

// What waits for an uplink that is down waits after a handover, too, and arrives
// once and in its order; without a store as well.
func TestHandoverOfUplinks(t *testing.T) {
	for i := range 4 {
		stored, first := i%2 > 0, i > 1
		t.Run(fmt.Sprint("stored ", stored, ", newest first ", first), func(t *testing.T) {
			far := brokertest.Ports(t, 1)[0]
			cfg := config(t)
			if stored {
				cfg.Storage.Directory = t.TempDir()
			}
			cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far, appliance.BridgeTopic{Filter: "up/#", QoS: 2})}
			if first {
				cfg.Bridges[0] = newest(cfg.Bridges[0])
			}
			b := launch(t, cfg)
			pub := brokertest.Dial(t, address(b), brokertest.Clean(wire.V5, "pub"))
			for i := range 5 {
				pub.Publish("up/1", fmt.Sprint(i), byte(1+i%2), false)
			}
			goOn(t, cfg, handOver(t, b))
			pub.Publish("up/1", "5", 2, false)
			there := config(t)
			there.Listeners[0].Address = far
			cloud := newBroker(t, there)
			var mu sync.Mutex
			var got []string
			cloud.On("message", func(e events.Event) { // before anything can come
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(e.Data.(events.MessageData).Payload))
			})
			if err := cloud.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stop(t, cloud) })
			brokertest.WaitFor(t, "all messages", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return strings.Join(got, " ") == "0 1 2 3 4 5"
			})
		})
	}
}

// A broker that does not run hands nothing over, and one that has handed over is
// over.
func TestHandoverOfAnEndedBroker(t *testing.T) {
	b, err := appliance.New(config(t))
	if err != nil {
		t.Fatal(err)
	}
	never := func(*os.File) error { t.Error("a parcel was sent"); return nil }
	if moved, err := b.HandOver(t.Context(), never); moved || err == nil {
		t.Errorf("before the start: %v, %v", moved, err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if moved, err := b.HandOver(t.Context(), func(*os.File) error { return nil }); !moved || err != nil {
		t.Errorf("%v, %v", moved, err)
	}
	if moved, err := b.HandOver(t.Context(), never); moved || err == nil {
		t.Errorf("again: %v, %v", moved, err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// pass is an authentication method that lets everybody in.
type pass struct{}

func (pass) Name() string                                    { return "PASS" }
func (pass) Begin(appliance.AuthPeer) appliance.AuthExchange { return pass{} }

func (pass) Step(context.Context, []byte) (appliance.AuthStep, error) {
	return appliance.AuthStep{Done: true, Username: "ann"}, nil
}

// A client that the next process turns away before it has its session again, here
// since the method by which it came is gone, has lost its connection: its session ends
// in time, and its will is published.
func TestHandoverTurnsAway(t *testing.T) {
	cfg := config(t)
	b := newBroker(t, cfg, appliance.WithAuthMethod(pass{}))
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	watcher := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "watcher"))
	watcher.Subscribe(0, "will")
	connect := wire.Connect{Version: wire.V5, ClientID: "c", CleanStart: true, SessionExpiry: 1, HasAuthMethod: true, AuthMethod: "PASS",
		Will: &wire.Will{Topic: "will", Payload: []byte("c is gone")}}
	c := brokertest.Dial(t, b.Addr("tcp"), connect)
	c.Subscribe(1, "t")
	p := handOver(t, b)
	defer p.Close()
	next := newBroker(t, cfg, appliance.WithHandover(p))
	if err := next.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, next) })
	if reason := c.ExpectDisconnect(); reason != wire.BadAuthMethod {
		t.Errorf("%v", reason)
	}
	watcher.ExpectMessage("will", "c is gone")
	brokertest.WaitFor(t, "the session to expire", func() bool { return next.Stats().Sessions.Expired == 1 })
}

// handOver is what b hands over.
func handOver(t *testing.T, b *appliance.Broker) *handover.Parcel {
	t.Helper()
	var parcel *os.File
	moved, err := b.HandOver(t.Context(), func(f *os.File) (err error) {
		parcel, err = handover.Keep(f)
		return err
	})
	if !moved || err != nil {
		t.Fatal(moved, err)
	}
	p, err := handover.Open(parcel)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// goOn runs a broker that goes on from p.
func goOn(t *testing.T, cfg appliance.Config, p *handover.Parcel, opts ...appliance.Option) {
	t.Helper()
	defer p.Close()
	b := newBroker(t, cfg, append(opts, appliance.WithHandover(p))...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
}

// A socket that the service manager has passed goes on listening in a process to
// which it passes none, as after SIGUSR2, and its path stays.
func TestHandoverOfSocketsPassed(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("passed again ", again), func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			lan, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			own, err := lan.(*net.TCPListener).File() // the manager's
			if err != nil {
				t.Fatal(err)
			}
			defer own.Close()
			here, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			here.(*net.UnixListener).SetUnlinkOnClose(false)
			addr, open := lan.Addr().String(), true
			cfg := config(t)
			cfg.Listeners = []appliance.ListenerConfig{{Name: "lan", Address: "systemd:lan", AllowAnonymous: &open},
				{Name: "here", Type: appliance.ListenUnix, Address: "systemd:here"}}
			b := newBroker(t, cfg, appliance.WithSockets([]systemd.Socket{{Name: "lan", Listener: lan}, {Name: "here", Listener: here}}))
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "c"))
			c.Subscribe(0, "t")
			var opts []appliance.Option
			if again {
				l, err := net.FileListener(own)
				if err != nil {
					t.Fatal(err)
				}
				opts = append(opts, appliance.WithSockets([]systemd.Socket{{Name: "lan", Listener: l}}))
			}
			goOn(t, cfg, handOver(t, b), opts...)
			for i, at := range []string{addr, "unix:" + path} {
				brokertest.Dial(t, at, brokertest.Clean(wire.V5, fmt.Sprint("late", i))).Publish("t", at, 0, false)
				c.ExpectMessage("t", at)
			}
		})
	}
}

// What is not stored has the same names after a handover: a stream that has a
// message already tells it when it comes again.
func TestHandoverKeepsTheEpoch(t *testing.T) {
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}})
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkToNATS(o, "S", appliance.BridgeTopic{Filter: "t/#", QoS: 1})}
	b := launch(t, cfg)
	pub := client(t, b, "pub")
	for i := range 2 {
		pub.Publish("t/x", "same", 1, false)
		brokertest.WaitFor(t, "a message", func() bool { return messages(t, stream) == i+1 })
		if i == 0 {
			goOn(t, cfg, handOver(t, b))
		}
	}
	var names []string
	for i := range uint64(2) {
		m, err := stream.GetMsg(t.Context(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		id := m.Header.Get("Nats-Msg-Id")
		names = append(names, id[:strings.LastIndexByte(id, '/')])
	}
	if names[0] != names[1] {
		t.Errorf("called %q", names)
	}
}
