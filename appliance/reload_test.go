package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/systemd"
	"github.com/synthetism/edgebroker/wire"
)

// running is a broker of cfg whose configuration can be changed by the result.
func running(t *testing.T, cfg Config, opts ...Option) (*Broker, *Config) {
	t.Helper()
	next := cfg
	b, err := New(cfg, append(opts, WithoutControl(), WithConfigSource(func() (Config, error) { return next, nil }))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop(t.Context()) })
	return b, &next
}

// A certificate that is being renewed, or was forgotten, keeps nobody in who is
// taken out of the files of the access section.
func TestAccessIsWatchedBesideBrokenCertificates(t *testing.T) {
	dir := t.TempDir()
	a, err := certs.CreateAuthority(dir, "plant")
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, rules := filepath.Join(dir, "s.crt"), filepath.Join(dir, "s.key"), filepath.Join(dir, "rules")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Write(cert, key, true); err != nil {
		t.Fatal(err)
	}
	write(rules, "allow any all #\n")
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "tls", Type: ListenTLS, Address: "127.0.0.1:0", Certificate: cert, PrivateKey: key}}
	cfg.Access.Rules = []string{rules}
	b, _ := running(t, cfg)
	write(cert, "no certificate\n")
	write(rules, "deny user=ann all #\nallow any all #\n")
	w := b.accessWatcher()
	for range 3 {
		w.look()
	}
	if b.files.policy.Size() != 2 {
		t.Errorf("%d rules are in force, want 2", b.files.policy.Size())
	}
	if _, err := b.Reload(t.Context()); err == nil {
		t.Error("a reload took the broken certificate")
	}
}

// A listener that has made room for nothing, and whose address somebody else has
// taken meanwhile, comes back with the next reload; so does one that nobody was
// quicker than, at once and at the port that it had.
func TestReloadBringsBackWhoMadeRoom(t *testing.T) {
	for _, quicker := range []bool{true, false} {
		cfg := DefaultConfig()
		cfg.Listeners = []ListenerConfig{{Name: "lan", Address: "127.0.0.1:0"}}
		b, next := running(t, cfg)
		at := b.Addr("lan")
		_, port, _ := net.SplitHostPort(at)
		wide := cfg
		wide.Listeners = []ListenerConfig{{Name: "lan", Address: "0.0.0.0:" + port}}
		b.reloading.Lock()
		plan, err := b.planEndpoints(wide, false)
		var other net.Listener
		if err == nil && quicker {
			plan.next[0].listen.Close(nil)
			other, err = net.Listen("tcp", at)
		}
		if err == nil {
			plan.rollBack()
		}
		b.reloading.Unlock()
		if err != nil || len(plan.aside) != 1 {
			t.Fatalf("%+v, %v", plan, err)
		}
		if quicker {
			_ = other.Close()
			next.Listeners = []ListenerConfig{{Name: "lan", Address: "127.0.0.1:0"}}
			if _, err := b.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			at = b.Addr("lan")
		}
		if got := b.Addr("lan"); got != at {
			t.Errorf("it is at %s now, want %s", got, at)
		}
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatalf("quicker %t: %v", quicker, err)
		}
		brokertest.WaitFor(t, "the connection", func() bool { return b.gate.Totals().Accepted == 1 })
		_ = conn.Close()
	}
}

// A socket of the service manager cannot make room: who would need that is
// refused, and clients of the socket notice nothing.
func TestReloadKeepsSocketsOfTheServiceManager(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held, err := nl.(*net.TCPListener).File() // as the service manager does
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "lan", Address: "systemd:lan"}}
	yes := true
	cfg.Listeners[0].AllowAnonymous = &yes
	b, next := running(t, cfg, WithSockets([]systemd.Socket{{Name: "lan", Listener: nl}}))
	_, port, _ := net.SplitHostPort(nl.Addr().String())
	next.Listeners = []ListenerConfig{{Name: "lan", Address: "0.0.0.0:" + port, AllowAnonymous: &yes}}
	if _, err := b.Reload(t.Context()); !errors.Is(err, ErrListen) {
		t.Errorf("got %v", err)
	}
	conn, err := net.Dial("tcp", nl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the connection", func() bool { return b.gate.Totals().Accepted == 1 })
	_ = conn.Close()
}

// Reloads that take sockets over, add and remove listeners and exchange rules,
// beside tries, renewed certificates, statistics and clients that come and go,
// and in the end a stop in the middle of it, leave nothing behind.
func TestReloadStorm(t *testing.T) {
	brokertest.NoLeaks(t)
	dir := t.TempDir()
	a, err := certs.CreateAuthority(dir, "plant")
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var files [2][2]string
	for n := range files {
		files[n] = [2]string{filepath.Join(dir, fmt.Sprint(n, ".crt")), filepath.Join(dir, fmt.Sprint(n, ".key"))}
		if err := i.Write(files[n][0], files[n][1], true); err != nil {
			t.Fatal(err)
		}
	}
	yes := true
	version := func(n int) Config {
		cfg := DefaultConfig()
		cfg.Listeners = []ListenerConfig{
			{Name: fmt.Sprint("lan", n%3/2), Address: "127.0.0.1:0", AllowAnonymous: &yes},
			{Name: "tls", Type: ListenTLS, Address: "127.0.0.1:0", Certificate: files[n%2][0], PrivateKey: files[n%2][1], AllowAnonymous: &yes},
			{Name: "local", Type: ListenUnix, Address: filepath.Join(dir, "s"), Mode: fs.FileMode(0o600 + n%2*0o060)},
		}
		if n%2 == 1 {
			cfg.Sessions.Classes = []SessionClass{{Clients: "c*", MaxQueuedMessages: 10}}
		}
		return cfg
	}
	var turn atomic.Int64
	b, err := New(version(0), WithoutControl(), WithConfigSource(func() (Config, error) { return version(int(turn.Add(1))), nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	stopped := make(chan struct{})
	often := func(what func() error) {
		all.Go(func() {
			for {
				err := what()
				select {
				case <-stopped:
					return
				default:
				}
				if err != nil && !errors.Is(err, ErrState) {
					t.Error(err)
					return
				}
			}
		})
	}
	var reloads atomic.Int64
	for range 2 {
		often(func() error { _, err := b.Reload(t.Context()); reloads.Add(1); return err })
	}
	often(func() error { _, err := b.TryReload(t.Context()); return err })
	often(b.ReloadCertificates)
	often(func() error { b.Stats(); return nil })
	connect := wire.Connect{Version: wire.V5, ClientID: "c", CleanStart: true}
	for range 3 {
		often(func() error {
			conn, err := net.Dial("unix", filepath.Join(dir, "s"))
			if err != nil {
				return nil // it is being exchanged
			}
			defer conn.Close()
			_, _ = conn.Write(wire.AppendConnect(nil, &connect))
			_, _ = conn.Read(make([]byte, 64))
			return nil
		})
	}
	brokertest.WaitFor(t, "reloads", func() bool { return reloads.Load() >= 50 || t.Failed() })
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	close(stopped)
	all.Wait()
}

type namesake struct{}

func (namesake) Authenticate(context.Context, *AuthAttempt) (AuthIdentity, error) {
	return AuthIdentity{Name: "ann", Source: "password"}, nil
}

// A program's source may call itself as the broker's do: its clients are not
// disconnected for want of a password file.
func TestReloadSparesClientsOfNamesakes(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "lan", Address: "127.0.0.1:0"}}
	b, _ := running(t, cfg, WithAuthSource(namesake{}))
	con := brokertest.Clean(wire.V5, "c")
	con.HasUsername, con.Username = true, "ann"
	c := brokertest.Dial(t, b.Addr("lan"), con)
	if r, err := b.Reload(t.Context()); err != nil || r.Affected != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	c.Ping()
}
