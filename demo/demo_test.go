package demo_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/demo"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
)

// screen is what the demo writes to. It may call a function when a text has come.
type screen struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	then  func(text string)
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.text.Write(b)
	if s.then != nil && strings.Contains(s.text.String(), s.until) {
		then := s.then
		s.then = nil
		then(s.text.String())
	}
	return n, err
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// temporary makes a folder for what is temporary, and has the test fail if
// anything is in it at its end.
func temporary(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func fast(out *screen) demo.Options {
	return demo.Options{Speed: 40, Out: out, Program: "edgebroker", Version: "test"}
}

// TestDemo runs the whole story, and looks at what it tells, and at the books.
func TestDemo(t *testing.T) {
	brokertest.NoLeaks(t)
	temporary(t)
	out := &screen{}
	if err := demo.Run(t.Context(), t.Context(), fast(out)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	told := strings.Join(strings.Fields(out.String()), " ")
	for _, what := range []string{
		`edgebroker top --socket \S+/control\.sock`,
		`edgebroker sub --address 127\.0\.0\.1:\d+ --user visitor --password-file \S+ 'plant/#'`,
		`mosquitto_sub -h 127\.0\.0\.1 -p \d+ -u visitor -P \S+ -v -t 'plant/#'`,
		`In a browser: http://127\.0\.0\.1:\d+/ \(user admin, password \S+\)`,
		`1 The plant starts .* the pump has it after .* Refused \(not authorized\)`,
		`2 A display stops reading .* It has \d+ of \d+ pictures, and misses (\d+)\. The broker says: \d+ slow_consumer\.`,
		`3 A pump loses its power .* published its will: on the panel it is "offline".* is "running"`,
		`4 The historian goes away, and comes back .* it has the \d+ messages that had waited\.`,
		`5 The line to the head office is cut .* The uplink is down.* all of it is at the head office, in order\.`,
		`6 The gateway restarts, while messages wait .* [1-9]\d* sessions, 3 retained messages and [1-9]\d* messages that wait\..*what had waited is where it belongs\.`,
		`7 The books .* 1 message of the intruder's was refused; the broker says 1\..* in its two lives, and of the head office's comes out even .* The books balance\.`,
	} {
		if !regexp.MustCompile(what).MatchString(told) {
			t.Errorf("it does not tell %q", what)
		}
	}
	if strings.Contains(told, "\x1b") {
		t.Error("what is no terminal gets sequences for one")
	}
	bookkeeping(t, out.String())
	if t.Failed() {
		t.Logf("it told:\n%s", out)
	}
}

// bookkeeping reads the two tables: what was counted at both ends is the same, and
// the only losses are those of the display.
func bookkeeping(t *testing.T, told string) {
	t.Helper()
	clients, readers := 0, 0
	for line := range strings.Lines(told) {
		f := strings.Fields(line)
		switch {
		case len(f) == 5 && f[0] != "mosquitto_sub" && regexp.MustCompile(`^( *[\w-]+)( +([\d,]+|-)){4}$`).MatchString(strings.TrimRight(line, "\n ")):
			clients++
			if strings.Contains(told, f[0]+" was disconnected ") { // a machine so busy that keep alive has run out
				continue
			}
			if f[1] != f[2] && !strings.Contains(told, f[0]+" sent ") || f[3] != f[4] && !strings.Contains(told, f[0]+" was sent ") {
				t.Errorf("the books of %s do not agree: %s", f[0], line)
			}
			if f[1] == "-" && f[3] == "-" {
				t.Errorf("%s did nothing", f[0])
			}
		case len(f) >= 7 && regexp.MustCompile(`^( *[\w-]+)( +([\d,]+|-)){5} `).MatchString(line):
			readers++
			if lossy := f[0] == "display-1"; (f[5] != "-") != lossy || (f[6] != "-") != lossy || lossy && (f[5] != f[6] || f[7] != "slow_consumer") {
				t.Errorf("only the display is to miss something, as the broker says: %s", line)
			}
			if f[1] == "0" || f[4] != "-" {
				t.Errorf("%s had nothing to get, or got it in disorder: %s", f[0], line)
			}
		}
	}
	if clients != 12 || readers != 4 {
		t.Errorf("the books have %d clients and %d readers", clients, readers)
	}
}

// TestStoppedEarly ends the demo in the middle, as Ctrl-C does.
func TestStoppedEarly(t *testing.T) {
	for _, until := range []string{"To look at it", "buffers for it are full", "not even goodbye", "The broker stops"} {
		t.Run(until, func(t *testing.T) {
			brokertest.NoLeaks(t)
			temporary(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &screen{until: until, then: func(string) { cancel() }}
			if err := demo.Run(ctx, ctx, fast(out)); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if told := out.String(); !strings.Contains(told, "Stopped early") || strings.Contains(told, "books balance") {
				t.Errorf("it told:\n%s", told)
			}
			if nc, err := net.Dial("tcp", regexp.MustCompile(`--address (\S+)`).FindStringSubmatch(out.String())[1]); err == nil {
				nc.Close()
				t.Error("somebody still listens")
			}
		})
	}
}

// TestLoop lets the plant go on until it is told to stop, which leads to the books;
// before, somebody disconnects clients, which the books are to stand. The folder
// is kept, and another broker goes on with it.
func TestLoop(t *testing.T) {
	temporary(t)
	dir := filepath.Join(t.TempDir(), "it's new")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &screen{until: "Ctrl-C closes the books"}
	out.then = func(string) {
		control := statsd.Dial(filepath.Join(dir, "control.sock"))
		defer control.Close()
		for _, id := range []string{"pump-1", "tank-1", "meter-2", "panel", "historian"} {
			if err := control.Kick(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		cancel()
	}
	o := fast(out)
	o.Loop, o.Keep = true, dir
	if err := demo.Run(ctx, t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	told := strings.Join(strings.Fields(out.String()), " ")
	if !strings.Contains(told, "tank-1 was disconnected once by somebody") || !strings.Contains(told, "The books balance.") {
		t.Errorf("it told:\n%s", out)
	}
	goesOn(t, dir)
	if err := demo.Run(t.Context(), t.Context(), o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder that is not empty: %v", err)
	}
}

// goesOn starts a broker on a folder that was kept.
func goesOn(t *testing.T, dir string) {
	t.Helper()
	cfg, err := appliance.LoadConfig(filepath.Join(dir, "edgebroker.yml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listeners[0].Address, cfg.HTTP.Address, cfg.Bridges = "127.0.0.1:0", "127.0.0.1:0", nil
	b, err := appliance.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.Stats().Retained.Messages; n != 3 {
		t.Errorf("%d retained messages, there were 3", n)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTaken names an address where somebody else listens.
func TestTaken(t *testing.T) {
	temporary(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := fast(&screen{})
	o.Listen = l.Addr().String()
	if err := demo.Run(t.Context(), t.Context(), o); err == nil || !strings.Contains(err.Error(), o.Listen) {
		t.Errorf("an address that is taken: %v", err)
	}
}
