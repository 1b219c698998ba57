package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/listen"
)

// pipes are n connected pairs of sockets.
func pipes(t *testing.T, n int) (near []int, far []*os.File) {
	t.Helper()
	for range n {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		near = append(near, p[0])
		f := os.NewFile(uintptr(p[1]), "far")
		t.Cleanup(func() { f.Close() })
		far = append(far, f)
	}
	return near, far
}

func packed(t *testing.T, conns int) (file *os.File, far []*os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer lf.Close()
	s := &State{Listeners: []Listener{{Name: "lan", Bound: l.Addr().String()}}}
	near, far := pipes(t, conns)
	sockets := []int{int(lf.Fd())}
	for i, fd := range near {
		s.Conns = append(s.Conns, Conn{Carried: listen.Carried{ID: fmt.Sprint(i), Gone: i%7 == 3}})
		if i%7 != 3 {
			sockets = append(sockets, fd)
		}
	}
	file, err = Pack(s, sockets)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range near {
		_ = unix.Close(fd)
	}
	return file, far
}

// Hundreds of sockets arrive in their order, as often as the parcel is opened,
// and end when it and all that came out of it are closed.
func TestParcel(t *testing.T) {
	const n = 700 // several messages
	file, far := packed(t, n)
	for round := range 3 {
		again, err := Keep(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Open(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Listeners) != 1 || p.Listeners[0].Addr().String() != p.State.Listeners[0].Bound {
			t.Errorf("listeners %v", p.Listeners)
		}
		for i := range n {
			f := p.Conns[i]
			if p.State.Conns[i].Gone {
				if f != nil {
					t.Fatalf("connection %d is gone and has a socket", i)
				}
				continue
			}
			want := fmt.Sprintf("%d in round %d", i, round)
			if _, err := far[i].WriteString(want); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			if k, err := f.Read(buf); err != nil || string(buf[:k]) != want {
				t.Fatalf("connection %d: %q, %v", i, buf[:k], err)
			}
		}
		if round == 1 {
			if c, err := net.Dial("tcp", p.State.Listeners[0].Bound); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
		}
		p.Close()
	}
	_ = file.Close()
	if k, err := far[0].Read(make([]byte, 1)); k > 0 || err == nil {
		t.Errorf("a connection is still open: %d, %v", k, err)
	}
}

// What is no parcel, or has another number of sockets than its state says, is
// refused, and leaves nothing open.
func TestOpenRefuses(t *testing.T) {
	s := &State{Listeners: []Listener{{Name: "lan"}}}
	if _, err := Pack(s, nil); err == nil {
		t.Error("packed without a socket")
	}
	near, _ := pipes(t, 2)
	for name, fill := range map[string]func(fd int) error{
		"empty":       func(int) error { return nil },
		"other bytes": func(fd int) error { _, err := unix.Write(fd, []byte("hello")); return err },
		"no state":    func(fd int) error { return fill(fd, []int{near[0], near[1]}, nil) },
		"too little":  func(fd int) error { return fill(fd, []int{near[0]}, []int{near[1]}) },
	} {
		before := openFiles(t)
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := fill(pair[1]); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(pair[1])
		p, err := Open(os.NewFile(uintptr(pair[0]), Name))
		if err == nil {
			t.Errorf("%s: opened", name)
		}
		p.Close()
		if after := openFiles(t); after != before {
			t.Errorf("%s: %d files are open, %d before", name, after, before)
		}
	}
	// A listener that does not listen.
	file, err := Pack(s, near[:1])
	if err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	p, err := Open(file)
	if err == nil {
		t.Error("opened with a listener that is none")
	}
	p.Close()
	if after := openFiles(t); after != before-1 {
		t.Errorf("%d files are open, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A program has one try; then that which has made the parcel has one; after that,
// and when clients have been read again, nobody.
func TestJudge(t *testing.T) {
	file, _ := packed(t, 1)
	open := func() *Parcel {
		t.Helper()
		again, err := Keep(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Open(again)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	self := Self() // which has made it
	for i, step := range []struct {
		who  string
		want Verdict
	}{
		{"new", Go}, {"new", RunEarlier}, {"other", Go}, {"other", RunEarlier}, {self, Go}, {self, Drop}, {"new", Drop}, {"third", Go},
	} {
		if got, err := open().Judge(step.who); got != step.want || err != nil {
			t.Errorf("step %d: %s gets %v, %v; want %v", i, step.who, got, err, step.want)
		}
	}
	if err := open().TakenOver(); err != nil {
		t.Fatal(err)
	}
	if got, err := open().Judge("fourth"); got != Drop || err != nil {
		t.Errorf("after it was taken over: %v, %v", got, err)
	}
}

func TestInherited(t *testing.T) {
	for text, want := range map[string]int{"": -1, "x": -1, "-5": -1, "0": -1, "2": -1, "777": 777} {
		t.Setenv(EnvParcel, text)
		if got := Inherited(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
		if got := Inherited(); got != -1 {
			t.Errorf("%q: told again: %d", text, got)
		}
	}
	if err := Run("/nowhere/edgebroker", nil, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("run what is not there: %v", err)
	}
}
