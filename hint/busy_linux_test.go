package hint

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBusyFolder: a folder in which something happens more often than somebody would
// look is left alone for an hour.
func TestBusyFolder(t *testing.T) {
	for name, busy := range map[string]func(o *observer){
		"every second": func(o *observer) {
			for range busySeconds + 1 {
				o.clock.advance(time.Second)
				o.must(os.Mkdir(o.in("f/x"), 0o700), os.Remove(o.in("f/x")))
				o.told()
			}
		},
		"much at once": func(o *observer) {
			for range busyEvents/2 + 1 {
				o.must(os.Mkdir(o.in("f/x"), 0o700), os.Remove(o.in("f/x")))
			}
			o.told()
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			o.mkdir("f")
			o.write("f/a", "one")
			attend := func(want bool) {
				t.Helper()
				if got := o.attend(o.in("f/a")); got != want {
					t.Fatalf("vouched is %t, want %t; log:\n%s", got, want, o.log)
				}
			}
			attend(true)
			o.busyAt(busySeconds)
			for range 10 * busySeconds { // as often as it may be
				o.clock.advance(time.Minute / busySeconds)
				o.must(os.Mkdir(o.in("f/x"), 0o700))
				if o.told() {
					t.Fatal("a hint of others")
				}
				o.must(os.Remove(o.in("f/x")))
				o.told()
				attend(true)
			}
			o.clock.advance(time.Minute)
			busy(o)
			attend(false)
			for _, d := range inotifies(t) {
				for _, path := range []string{o.in("f"), o.in("f/a")} {
					if d.inodes[o.inode(path)] {
						t.Errorf("%s is still watched", path)
					}
				}
			}
			o.clock.advance(busyFor - time.Second)
			attend(false)
			o.clock.advance(2 * time.Second)
			attend(true)
			o.told()
			o.write("f/a", "two")
			o.wait()
		})
	}
}

// TestBusyTells: whoever relies on a folder that turns out to be busy hears of it.
func TestBusyTells(t *testing.T) {
	o := start(t)
	o.mkdir("f")
	if !o.attend(o.in("f/a")) {
		t.Fatalf("no vouch; log:\n%s", o.log)
	}
	o.busyAt(0)
	o.must(os.Mkdir(o.in("f/x"), 0o700))
	o.wait()
}

// TestBusyFile: a file that is written all the time is left alone as well, and what lies
// beside it is not.
func TestBusyFile(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	o.write("b", "one")
	other, end := o.Watch(func() {})
	defer end()
	o.busyAt(busySeconds)
	for range busySeconds + 1 {
		if !o.attend(o.in("a")) || !other([]string{o.in("b")}) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		o.clock.advance(time.Second)
		o.write("a", "more")
		if !o.told() {
			t.Fatal("no hint")
		}
	}
	if o.attend(o.in("a")) {
		t.Error("vouched for a file that is written all the time")
	}
	if !other([]string{o.in("b")}) {
		t.Errorf("no vouch for what lies beside it; log:\n%s", o.log)
	}
}

// TestNeighboursWakeNobody: that files beside ours, or in folders above, are written is
// not even told to this process. It would be if folders were watched for that.
func TestNeighboursWakeNobody(t *testing.T) {
	for name, c := range map[string]struct {
		also  uint32 // told of folders
		wakes bool
	}{
		"as folders are watched":          {0, false},
		"were they watched for IN_MODIFY": {unix.IN_MODIFY, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			s := o.spy(c.also)
			o.mkdir("f")
			o.write("f/a", "one")
			o.write("f/log", "one\n")
			o.write("log", "one\n")
			if !o.attend(o.in("f/a")) || o.told() {
				t.Fatalf("no vouch, or a hint, and nothing has happened; log:\n%s", o.log)
			}
			for _, path := range []string{"f/log", "log"} {
				folder := o.in(filepath.Dir(path))
				before := s.reads(folder)
				for range 100 {
					f, err := os.OpenFile(o.in(path), os.O_APPEND|os.O_WRONLY, 0)
					o.must(err)
					_, err = f.WriteString("more\n")
					o.must(err, f.Close())
				}
				if o.told() {
					t.Errorf("a hint of %s", path)
				}
				if n := s.reads(folder) - before; (n > 0) != c.wakes {
					t.Errorf("%d wake-ups by what was appended to %s", n, path)
				}
			}
			before := s.reads(o.in("f"))
			o.write("f/new", "one")
			if o.told() {
				t.Error("a hint of another name")
			}
			if s.reads(o.in("f")) == before {
				t.Error("wake-ups by what happens in the folder are not counted")
			}
			o.write("f/a", "two")
			o.wait()
		})
	}
}
