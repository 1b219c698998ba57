package hint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOverflow: when the kernel's queue was full everything may have changed.
func TestOverflow(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	o.must(err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	o.must(err)
	if limit > 1<<17 {
		t.Skipf("the kernel keeps %d events", limit)
	}
	const each = busyEvents - 1000 // events of a folder, which are not too many
	var others []string
	for i := range limit/each + 2 {
		o.mkdir(fmt.Sprint("f", i, "/x0"))
		others = append(others, o.in(fmt.Sprint("f", i, "/a")))
	}
	crowd, end := o.Watch(func() {})
	defer end()
	for range 2 {
		if !o.attend(o.in("a")) || !crowd(others) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		if o.told() {
			t.Fatal("a hint, and nothing has happened")
		}
		o.clock.advance(time.Minute)
		o.mu.Lock() // who is told now waits
		for i := range others {
			for n := range each / 2 { // two events
				o.rename(fmt.Sprint("f", i, "/x", n%2), fmt.Sprint("f", i, "/x", 1-n%2))
			}
		}
		o.mu.Unlock()
		o.wait()
		if !o.attend(o.in("a")) || !crowd(others) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		o.told()
		if !o.attend(o.in("a")) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		o.write("a", "two")
		if !o.told() { // and all that is told of it: more than one event
			t.Fatal("no hint")
		}
	}
}

// TestFailure: an instance that cannot be read any more is closed, and another one made later.
func TestFailure(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	for range 2 {
		if !o.attend(o.in("a")) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		o.told()
		o.must(o.kernel.(*inotify).SetReadDeadline(time.Unix(1, 0)))
		o.wait()
		if o.attend(o.in("a")) {
			t.Fatal("vouched, and nobody reads")
		}
		if n := len(inotifies(t)); n > 0 {
			t.Errorf("%d inotify descriptors are left", n)
		}
		o.clock.advance(refusedFor)
		if !o.attend(o.in("a")) {
			t.Fatalf("no vouch later; log:\n%s", o.log)
		}
		o.told()
		o.write("a", "two")
		o.wait()
	}
	if n := strings.Count(o.log.String(), "tells no more"); n != 2 {
		t.Errorf("said %d times, want 2:\n%s", n, o.log)
	}
}

// descriptor is an inotify descriptor of this process, as the kernel shows it.
type descriptor struct {
	flags  uint64
	inodes map[uint64]bool // that it watches
}

// inotifies are the inotify descriptors of this process.
func inotifies(t *testing.T) (found []descriptor) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || !strings.Contains(target, "inotify") {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		d := descriptor{inodes: map[uint64]bool{}}
		for line := range strings.Lines(string(info)) {
			if text, ok := strings.CutPrefix(line, "flags:"); ok {
				if d.flags, err = strconv.ParseUint(strings.TrimSpace(text), 8, 64); err != nil {
					t.Fatal(err)
				}
			}
			var wd, inode uint64
			if _, err := fmt.Sscanf(line, "inotify wd:%x ino:%x", &wd, &inode); err == nil {
				d.inodes[inode] = true
			}
		}
		found = append(found, d)
	}
	return found
}

// inode is that of path, links not followed.
func (o *observer) inode(path string) uint64 {
	o.Helper()
	var st unix.Stat_t
	o.must(unix.Lstat(path, &st))
	return st.Ino
}

// TestDescriptor: there is one for all watches, which no other program inherits and
// which does not outlive Close; and none as long as nothing is to be watched.
func TestDescriptor(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	o.write("b", "one")
	if n := len(inotifies(t)); n > 0 {
		t.Fatalf("%d inotify descriptors before anything is watched", n)
	}
	attend, end := o.Watch(func() {})
	if !o.attend(o.in("a")) || !attend([]string{o.in("b")}) {
		t.Fatalf("no vouch; log:\n%s", o.log)
	}
	found := inotifies(t)
	if len(found) != 1 {
		t.Errorf("%d inotify descriptors, want 1", len(found))
	}
	for _, d := range found {
		if d.flags&unix.O_CLOEXEC == 0 {
			t.Errorf("it is inherited: flags %#o", d.flags)
		}
		if d.flags&unix.O_NONBLOCK == 0 {
			t.Errorf("waiting for it takes a thread: flags %#o", d.flags)
		}
	}
	// What one gives up stays watched for the other.
	end()
	end()
	o.told()
	o.write("a", "two")
	o.wait()
	if attend([]string{o.in("b")}) {
		t.Error("a watch that has ended vouches")
	}
	o.end()
	o.markEnd()
	for _, d := range inotifies(t) {
		if len(d.inodes) > 0 {
			t.Errorf("watched for nobody: inodes %v", d.inodes)
		}
	}
	for range 2 {
		o.must(o.Close())
		if n := len(inotifies(t)); n > 0 {
			t.Errorf("%d inotify descriptors after Close", n)
		}
	}
	after, _ := o.Watch(func() {})
	if after([]string{o.in("a")}) {
		t.Error("vouched after Close")
	}
}
