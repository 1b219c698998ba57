package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/statsd"
)

func TestStatusLine(t *testing.T) {
	before := statsd.Snapshot{Uptime: 100, MessageCount: 1000, Dropped: statsd.Dropped{Total: 5, ByReason: map[string]uint64{"no_subscribers": 5}}}
	for _, tt := range []struct {
		name string
		now  statsd.Snapshot
		want string
	}{
		{"nothing", statsd.Snapshot{Uptime: 110, MessageCount: 1000, Storage: statsd.Storage{State: statsd.StorageNone}},
			"0 clients, 0 msg/s, state in memory"},
		{"busy", statsd.Snapshot{Uptime: 110, MessageCount: 13_400, ClientCount: 42, Storage: statsd.Storage{State: statsd.StorageOK, UsedBytes: 12 << 20},
			Bridges: []statsd.Bridge{{Name: "cloud", State: "up", Queued: statsd.Store{Messages: 3}}}},
			"42 clients, 1.2k msg/s, uplink cloud up, journal 12 MiB"},
		{"in trouble", statsd.Snapshot{Uptime: 110, MessageCount: 1001, ClientCount: 1, Storage: statsd.Storage{State: statsd.StorageFull, Reason: "no space left on device"},
			Bridges: []statsd.Bridge{{Name: "a", State: "down", Queued: statsd.Store{Messages: 1234}}, {Name: "b", State: "paused"}, {Name: "c", State: "up"}, {Name: "d", State: "up"}, {Name: "e", State: "up"}},
			Dropped: statsd.Dropped{Total: 9, ByReason: map[string]uint64{"no_subscribers": 6, "queue_full": 3}}},
			"1 client, 0.1 msg/s, uplink a down with 1,234 messages waiting, uplink b paused, uplink c up, 2 more uplinks, journal full: no space left on device, 3 messages lost just now, see edgebroker drops"},
		{"nobody had subscribed", statsd.Snapshot{Uptime: 110, MessageCount: 1000, Storage: statsd.Storage{State: statsd.StorageNone},
			Dropped: statsd.Dropped{Total: 50, ByReason: map[string]uint64{"no_subscribers": 50}}},
			"0 clients, 0 msg/s, state in memory"},
	} {
		if got := statusLine(&before, &tt.now); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestRateWords(t *testing.T) {
	for r, want := range map[float64]string{0: "0", 0.01: "<0.1", 0.3: "0.3", 9.94: "9.9", 9.97: "10", 42.4: "42", 999.4: "999", 999.6: "1.0k",
		1234: "1.2k", 9949: "9.9k", 9951: "10k", 56_700: "57k", 999_600: "1.0M", 1.25e6: "1.2M"} {
		if got := rateWords(r); got != want {
			t.Errorf("%v: got %s, want %s", r, got, want)
		}
	}
}

// While there is no pulse the watchdog is not fed, however the ticks come; and
// when there is again, it is.
func TestFeed(t *testing.T) {
	told := fakeManager(t)
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := &manager{log: slog.New(slog.NewTextHandler(&log, nil))}
		hangs := make(chan struct{})
		pulses := 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.feed(ctx, rest.New(), time.Minute, func(ctx context.Context) error {
				pulses++
				if pulses <= 2 || pulses == 5 {
					return nil
				}
				select {
				case <-hangs:
					return errors.New("it is broken")
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
		sleep := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := told(); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		sleep(41*time.Second, "WATCHDOG=1 WATCHDOG=1")
		sleep(79*time.Second, "") // the third hangs, until it is a minute old
		close(hangs)
		sleep(time.Second, "") // the fourth was at once, and has failed
		sleep(20*time.Second, "WATCHDOG=1")
		cancel()
		<-done
		if got := log.String(); strings.Count(got, "since it does not") != 2 || !strings.Contains(got, "it is broken") {
			t.Errorf("logged %s", got)
		}
	})
}

// A broker on its way out has no pulse, which is no fault.
func TestFeedOfABrokerThatLeaves(t *testing.T) {
	told := fakeManager(t)
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := &manager{log: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m.feed(ctx, rest.New(), time.Minute, func(context.Context) error { return appliance.ErrState })
		if got := told(); got != "" || log.Len() > 0 {
			t.Errorf("told %q, logged %s", got, log.String())
		}
	})
}

// Recovery that gets on is given time, and one that does not is not.
func TestRecovering(t *testing.T) {
	told := fakeManager(t)
	synctest.Test(t, func(t *testing.T) {
		m := &manager{log: slog.New(slog.DiscardHandler)}
		m.recovering(0, 64<<20)
		m.recovering(8<<20, 64<<20)
		if got := told(); got != "EXTEND_TIMEOUT_USEC=90000000" {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(time.Minute)
		if got := told(); got != "" {
			t.Errorf("while nothing moves: %s", got)
		}
		m.recovering(16<<20, 64<<20)
		if got := told(); got != "EXTEND_TIMEOUT_USEC=90000000 STATUS=reading what is stored: 25 % of 64 MiB" {
			t.Errorf("then: %s", got)
		}
	})
}

// A reload that has failed is in the line until one has not.
func TestStatusAfterReload(t *testing.T) {
	told := fakeManager(t)
	m := &manager{log: slog.New(slog.DiscardHandler)}
	told()
	for i, tt := range []struct {
		err  error
		want string
	}{{nil, "STATUS=well"}, {errors.New("bad"), "STATUS=well, the last reload failed, see the log"}, {nil, "STATUS=well"}} {
		m.reloading()(tt.err)
		m.say("well")
		m.say("well")
		if _, got, _ := strings.Cut(told(), "READY=1 "); got != tt.want {
			t.Errorf("%d: got %q, want %q", i, got, tt.want)
		}
	}
}

// fakeManager is where notifications go; told returns those that have come.
func fakeManager(t *testing.T) (told func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		var all []string
		for buf, n := make([]byte, 4096), 0; ; {
			// Without waiting, which a bubble could not tell from a wait for its time.
			if err := raw.Control(func(fd uintptr) { n = receiveNow(int(fd), buf) }); err != nil || n <= 0 {
				return strings.Join(all, " ")
			}
			all = append(all, string(buf[:n]))
		}
	}
}

// receiveNow is the length of the datagram that is there, 0 if there is none.
func receiveNow(fd int, buf []byte) int {
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		return 0
	}
	return n
}
