package footprint_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// start runs a broker with its defaults and a hundred rules, of which the last lets
// everybody do everything, until the end of the test.
func start(t *testing.T, change func(*appliance.Config)) *appliance.Broker {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector takes memory of its own, and makes pools forget")
	}
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte(strings.Repeat("deny user=nobody all plant/+/secret\n", 99)+"allow any all #\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := appliance.DefaultConfig()
	cfg.Listeners = []appliance.ListenerConfig{{Name: "tcp", Type: appliance.ListenTCP, Address: "127.0.0.1:0"}}
	cfg.Control.Socket = filepath.Join(t.TempDir(), "c.sock")
	cfg.Access.Rules, cfg.Access.Watch = []string{rules}, false
	if change != nil {
		change(&cfg)
	}
	b, err := appliance.New(cfg, appliance.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// client is a blocking socket, of which this process holds little.
type client struct {
	testing.TB
	fd  int
	buf []byte // what has been read last
	v   wire.Version
}

// dial connects, and is let in.
func dial(t testing.TB, b *appliance.Broker, c wire.Connect) *client {
	t.Helper()
	at := netip.MustParseAddrPort(b.Addr("tcp"))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &client{TB: t, fd: fd, buf: make([]byte, 4096), v: c.Version}
	patience := unix.NsecToTimeval(int64(time.Minute))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	s.write(wire.AppendConnect(nil, &c))
	s.expect(wire.CONNACK)
	return s
}

func (c *client) write(b []byte) {
	if n, err := unix.Write(c.fd, b); err != nil || n != len(b) {
		c.Fatalf("wrote %d of %d bytes: %v", n, len(b), err)
	}
}

// expect reads one frame of a type, and returns its length.
func (c *client) expect(want wire.Type) int {
	for n, need := 0, 2; ; { // the fixed header's least
		k, err := unix.Read(c.fd, c.buf[n:n+need])
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			c.Fatalf("waited for %v: %v", want, err)
		}
		n, need = n+k, need-k
		if size, ok := wire.FrameSize(c.buf[:n]); ok {
			need = size - n
		} else if need == 0 {
			need = 1
		}
		if need == 0 {
			if got := wire.Type(c.buf[0] >> 4); got != want {
				c.Fatalf("got %v instead of %v", got, want)
			}
			return n
		}
	}
}

func (c *client) subscribe(qos byte, filter string) {
	c.write(wire.AppendSubscribe(nil, c.v, &wire.Subscribe{PacketID: 1, Filters: []wire.Filter{{Filter: filter, QoS: qos}}}))
	c.expect(wire.SUBACK)
}

// leave says good-bye.
func (c *client) leave() {
	c.write(wire.AppendDisconnect(nil, c.v, wire.Success, ""))
	_ = unix.Close(c.fd)
}

func connect(v wire.Version, name string, i int, clean bool) wire.Connect {
	c := wire.Connect{Version: v, CleanStart: clean, ClientID: fmt.Sprintf("%s-%05d", name, i), KeepAlive: 60}
	if v == wire.V5 && !clean {
		c.SessionExpiry = 3600
	}
	return c
}
