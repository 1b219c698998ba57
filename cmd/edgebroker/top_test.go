package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/statsd"
)

// pty is a terminal with edgebroker top on it.
type pty struct {
	t       *testing.T
	master  *os.File
	slave   *os.File
	cmd     *exec.Cmd
	before  unix.Termios
	arrived chan struct{} // something has been written, or the program has ended

	mu  sync.Mutex
	out []byte
}

// startTop runs edgebroker top on a terminal of 80 columns and 24 rows, unless change
// says otherwise as a group of processes of its own, as a shell does it.
func startTop(t *testing.T, socket string, change ...func(*exec.Cmd)) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	p := &pty{t: t, master: master, slave: slave, arrived: make(chan struct{}, 1)}
	p.resize(80, 24)
	p.before = *p.termios()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = &exec.Cmd{Path: self, Args: []string{program, "top", "--socket", socket, "--interval", "100ms"},
		Env:   []string{"TERM=xterm", "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH")},
		Stdin: slave, Stdout: slave, Stderr: slave, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	for _, fn := range change {
		fn(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.out = append(p.out, buf[:n]...)
			p.mu.Unlock()
			select {
			case p.arrived <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (p *pty) resize(w, h uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: w, Row: h}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) termios() *unix.Termios {
	p.t.Helper()
	s, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// await waits until text has been written, and forgets what has been up to it.
func (p *pty) await(text string) {
	p.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		p.mu.Lock()
		at := bytes.Index(p.out, []byte(text))
		if at >= 0 {
			p.out = p.out[at+len(text):]
		}
		seen := string(p.out)
		p.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-p.arrived:
		case <-limit.C:
			p.t.Fatalf("%q was not written, but %q", text, seen)
		}
	}
}

// press types keys and signal sends a signal.
func (p *pty) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// givenBack is what a terminal is told in the end.
const givenBack = "\x1b[?7h\x1b[?25h\x1b[?1049l"

// checkSettings checks that the terminal is set as it was.
func (p *pty) checkSettings() {
	p.t.Helper()
	if now := *p.termios(); now != p.before {
		p.t.Errorf("the terminal's settings are %+v, they were %+v", now, p.before)
	}
}

// end waits for the program's end, which must be a good one.
func (p *pty) end() {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the program ends with %v", err)
	}
	p.await(givenBack)
	p.checkSettings()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) > 0 {
		p.t.Errorf("afterwards it writes %q", p.out)
	}
}

func TestTopOnATerminal(t *testing.T) {
	f := newFakeBroker()
	p := startTop(t, serveFake(t, f))
	p.await("\x1b[?1049h")
	p.await("v9.9.9")
	if *p.termios() == p.before {
		t.Error("keys are echoed")
	}
	p.press("2")
	p.await(`evil\x1b[2J\x0aid\u{202e}`) // escaped
	p.press("/evil\rk")
	p.await("? y/n")
	p.press("y")
	if id := <-f.kicked; id != hostileID {
		t.Errorf("%q is kicked", id)
	}
	p.press("\x1b[C") // right
	p.await("TOPIC")
	p.resize(40, 12)
	p.signal(syscall.SIGWINCH)
	p.await("\x1b[2J")
	p.await("\x1b[12;1H") // the last line
	p.press("q")
	p.end()
}

func TestTopEndsBySignal(t *testing.T) {
	p := startTop(t, serveFake(t, newFakeBroker()))
	p.await("v9.9.9")
	p.signal(syscall.SIGTERM)
	p.end()
}

func TestTopStopsAndGoesOn(t *testing.T) {
	socket := serveFake(t, newFakeBroker())
	for name, stop := range map[string]func(*pty){
		"by its key":  func(p *pty) { p.press("\x1a") },
		"by a signal": func(p *pty) { p.signal(syscall.SIGTSTP) },
	} {
		t.Run(name, func(t *testing.T) {
			p := startTop(t, socket)
			p.await("v9.9.9")
			for range 2 { // what works once must work again
				stop(p)
				var status syscall.WaitStatus
				if _, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
					t.Fatalf("it does not stop: %v %v", status, err)
				}
				p.await(givenBack)
				p.checkSettings()
				p.signal(syscall.SIGCONT)
				p.await("\x1b[?1049h")
				p.await("v9.9.9")
			}
			p.press("q")
			p.end()
		})
	}
}

// Where no shell waits, as when ssh runs the program itself, nobody could make it go
// on: it stays.
func TestTopWithoutAShellIsNotStopped(t *testing.T) {
	p := startTop(t, serveFake(t, newFakeBroker()), func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} })
	p.await("v9.9.9")
	p.press("\x1a")
	p.await("there is no shell here to go back to")
	p.signal(syscall.SIGTSTP)
	p.press("q")
	p.end()
}

func TestTopWithoutColour(t *testing.T) {
	p := startTop(t, serveFake(t, newFakeBroker()), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "NO_COLOR=1", "LANG=C") })
	p.await("\x1b[2J")
	p.press("\x0c")
	p.await("\x1b[2J")
	p.press("q")
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if out := string(p.out); strings.Contains(out, ";3") || strings.ContainsFunc(out, func(r rune) bool { return r > 0x7e }) {
		t.Errorf("it writes %q", out)
	}
}

func TestTopWaitsForTheDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	p := startTop(t, socket)
	p.await("NO ANSWER for 0s: reach control socket")
	serve := func() *statsd.Server {
		s := statsd.NewServer(newFakeBroker(), statsd.Options{})
		if err := s.Listen(socket, 0); err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve() }()
		return s
	}
	for range 2 {
		s := serve()
		p.await("v9.9.9")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		p.await("NO ANSWER")
	}
	p.press("\x03")
	p.end()
}

func TestShowsUnicode(t *testing.T) {
	for _, test := range []struct {
		env  string
		want bool
	}{
		{"", false}, {"LANG=C", false}, {"LANG=de_DE.UTF-8", true}, {"LANG=de_DE.utf8", true}, {"LANG=C.UTF-8 LC_ALL=C", false},
		{"LANG=C LC_CTYPE=C.UTF-8", true}, {"LANG=C.UTF-8 TERM=linux", false},
	} {
		got := showsUnicode(func(name string) string {
			for pair := range strings.FieldsSeq(test.env) {
				if k, v, _ := strings.Cut(pair, "="); k == name {
					return v
				}
			}
			return ""
		})
		if got != test.want {
			t.Errorf("%s: %v", test.env, got)
		}
	}
}
