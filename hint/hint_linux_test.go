package hint

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fatal is what testing and rapid have in common.
type fatal interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// observer is a watch, and a way to know that all that has happened has been told.
type observer struct {
	fatal
	*Hints
	clock  *clock
	log    *bytes.Buffer
	dir    string // for the test
	attend func(...string) bool
	end    func()
	hinted chan struct{}

	marks   string // a folder of its own
	marked  int
	mark    func([]string) bool
	markEnd func()
	seen    chan struct{}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// observe makes an observer in dir, which lies on a file system that can be vouched
// for. Whatever else happens above dir is not too much.
func observe(t fatal, dir string) *observer {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{fatal: t, clock: &clock{at: time.Now()}, log: &bytes.Buffer{}, dir: filepath.Join(dir, "test"), marks: filepath.Join(dir, "marks"),
		hinted: make(chan struct{}, 1), seen: make(chan struct{}, 1)}
	o.Hints = New(slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	o.Hints.now, o.Hints.seconds = o.clock.now, 1<<30
	o.must(os.Mkdir(o.dir, 0o700), os.Mkdir(o.marks, 0o700))
	attend, end := o.Watch(func() { signal(o.hinted) })
	o.attend, o.end = func(paths ...string) bool { return attend(paths) }, end
	o.mark, o.markEnd = o.Watch(func() { signal(o.seen) })
	return o
}

func start(t *testing.T) *observer {
	t.Helper()
	o := observe(t, t.TempDir())
	t.Cleanup(func() { o.must(o.Close()) })
	if _, err := waysTo([]string{o.dir}); err != nil {
		t.Skipf("nothing can be vouched for here: %v", err)
	}
	return o
}

func (o *observer) must(errs ...error) {
	o.Helper()
	if err := errors.Join(errs...); err != nil {
		o.Fatal(err)
	}
}

// in is a path below the test's folder.
func (o *observer) in(path string) string { return filepath.Join(o.dir, path) }

// busyAt sets in how many seconds of a minute too much happens.
func (o *observer) busyAt(seconds int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seconds = seconds
}

func (o *observer) write(path, text string) {
	o.Helper()
	o.must(os.WriteFile(o.in(path), []byte(text), 0o600))
}

func (o *observer) mkdir(path string) {
	o.Helper()
	o.must(os.MkdirAll(o.in(path), 0o700))
}

func (o *observer) link(target, path string) {
	o.Helper()
	o.must(os.Symlink(target, o.in(path)))
}

func (o *observer) rename(from, to string) {
	o.Helper()
	o.must(os.Rename(o.in(from), o.in(to)))
}

// wait waits until a hint comes.
func (o *observer) wait() {
	o.Helper()
	select {
	case <-o.hinted:
	case <-time.After(time.Minute):
		o.Fatalf("no hint; log:\n%s", o.log)
	}
}

// told reports whether there was a hint since the last time, for all that has happened
// by now: the kernel tells in the order in which it happens.
func (o *observer) told() bool {
	o.Helper()
	o.marked++
	path := filepath.Join(o.marks, strconv.Itoa(o.marked))
	if !o.mark([]string{path}) {
		o.Fatalf("no vouch for a folder of one's own; log:\n%s", o.log)
	}
	select { // what the mark before has left
	case <-o.seen:
	default:
	}
	o.must(os.Mkdir(path, 0o700))
	select {
	case <-o.seen:
	case <-time.After(time.Minute):
		o.Fatal("no hint of the mark")
	}
	select {
	case <-o.hinted:
		return true
	default:
		return false
	}
}

// TestEveryChangeIsHinted changes what a path leads to in all the ways in which that
// happens. The hint comes from the kernel: nobody looks.
func TestEveryChangeIsHinted(t *testing.T) {
	one := func(o *observer) string { o.write("a", "one"); return "a" }
	for name, c := range map[string]struct {
		prepare func(o *observer) (path string)
		change  func(o *observer)
	}{
		"written in place": {one, func(o *observer) { o.write("a", "two") }},
		"appended to": {one, func(o *observer) {
			f, err := os.OpenFile(o.in("a"), os.O_APPEND|os.O_WRONLY, 0)
			o.must(err)
			_, err = f.WriteString("more")
			o.must(err, f.Close())
		}},
		"truncated":           {one, func(o *observer) { o.must(os.Truncate(o.in("a"), 1)) }},
		"another mode":        {one, func(o *observer) { o.must(os.Chmod(o.in("a"), 0o644)) }},
		"another time":        {one, func(o *observer) { at := time.Now().Add(-time.Hour); o.must(os.Chtimes(o.in("a"), at, at)) }},
		"another renamed to":  {one, func(o *observer) { o.write("b", "two"); o.rename("b", "a") }},
		"as editors keep one": {one, func(o *observer) { o.rename("a", "a~"); o.write("a", "two") }},
		"removed":             {one, func(o *observer) { o.must(os.Remove(o.in("a"))) }},
		"removed, made anew":  {one, func(o *observer) { o.must(os.Remove(o.in("a"))); o.write("a", "two") }},
		"made":                {func(*observer) string { return "a" }, func(o *observer) { o.write("a", "one") }},
		"by a hard link from elsewhere": {
			func(o *observer) string {
				o.mkdir("far")
				o.write("far/b", "one")
				o.must(os.Link(o.in("far/b"), o.in("a")))
				return "a"
			},
			func(o *observer) { o.write("far/b", "two") },
		},
		"a link, what it points to": {
			func(o *observer) string { o.mkdir("far"); o.write("far/b", "one"); o.link("far/b", "a"); return "a" },
			func(o *observer) { o.write("far/b", "two") },
		},
		"a link, what it points to replaced": {
			func(o *observer) string { o.mkdir("far"); o.write("far/b", "one"); o.link("far/b", "a"); return "a" },
			func(o *observer) { o.write("far/c", "two"); o.rename("far/c", "far/b") },
		},
		"a link, replaced": {
			func(o *observer) string { o.write("b", "one"); o.link("b", "a"); return "a" },
			func(o *observer) { o.write("c", "two"); o.link("c", "new"); o.rename("new", "a") },
		},
		"a link to nothing, what it points to made": {
			func(o *observer) string { o.mkdir("far"); o.link(o.in("far/b"), "a"); return "a" },
			func(o *observer) { o.write("far/b", "one") },
		},
		"a link to a link, the second replaced": {
			func(o *observer) string {
				o.mkdir("near")
				o.mkdir("far")
				o.write("far/c", "one")
				o.link("../far/b", "near/a")
				o.link("c", "far/b")
				return "near/a"
			},
			func(o *observer) { o.write("far/d", "two"); o.link("d", "far/new"); o.rename("far/new", "far/b") },
		},
		"a linked folder, replaced": {
			func(o *observer) string {
				o.mkdir("v1")
				o.write("v1/a", "one")
				o.link("v1", "current")
				return "current/a"
			},
			func(o *observer) {
				o.mkdir("v2")
				o.write("v2/a", "two")
				o.link("v2", "new")
				o.rename("new", "current")
			},
		},
		"as Kubernetes does": {
			func(o *observer) string {
				o.mkdir("mount/..2026_1")
				o.write("mount/..2026_1/rules", "one")
				o.link("..2026_1", "mount/..data")
				o.link("..data/rules", "mount/rules")
				return "mount/rules"
			},
			func(o *observer) {
				o.mkdir("mount/..2026_2")
				o.write("mount/..2026_2/rules", "two")
				o.link("..2026_2", "mount/..data_tmp")
				o.rename("mount/..data_tmp", "mount/..data")
				o.must(os.RemoveAll(o.in("mount/..2026_1")))
			},
		},
		"the folder replaced": {
			func(o *observer) string { o.mkdir("f"); o.write("f/a", "one"); return "f/a" },
			func(o *observer) {
				o.mkdir("g")
				o.write("g/a", "two")
				o.rename("f", "old")
				o.rename("g", "f")
			},
		},
		"the folder of the folder replaced": {
			func(o *observer) string { o.mkdir("app/conf"); o.write("app/conf/a", "one"); return "app/conf/a" },
			func(o *observer) {
				o.mkdir("new/conf")
				o.write("new/conf/a", "two")
				o.rename("app", "old")
				o.rename("new", "app")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			path := c.prepare(o)
			if !o.attend(o.in(path)) {
				t.Fatalf("no vouch; log:\n%s", o.log)
			}
			if o.told() {
				t.Fatal("a hint, and nothing has happened")
			}
			c.change(o)
			o.wait()
			// And it goes on with what is there now.
			for range 3 {
				o.told()
				if !o.attend(o.in(path)) {
					t.Fatalf("no vouch afterwards; log:\n%s", o.log)
				}
				o.write(path, "again")
				if !o.told() {
					t.Fatal("no hint of a second change")
				}
			}
		})
	}
}

// TestFolderComesBack: while the folder is not there, looking is what helps.
func TestFolderComesBack(t *testing.T) {
	o := start(t)
	o.mkdir("f")
	o.write("f/a", "one")
	if !o.attend(o.in("f/a")) {
		t.Fatalf("no vouch; log:\n%s", o.log)
	}
	for range 3 {
		o.must(os.RemoveAll(o.in("f")))
		o.wait()
		if o.attend(o.in("f/a")) {
			t.Fatal("vouched for what is in a folder that does not exist")
		}
		o.mkdir("f")
		o.write("f/a", "two")
		if !o.attend(o.in("f/a")) {
			t.Fatalf("no vouch for what is back; log:\n%s", o.log)
		}
		o.told()
		o.write("f/a", "three")
		o.wait()
	}
	if n := strings.Count(o.log.String(), "looked at again and again"); n != 3 {
		t.Errorf("said %d times that there is no vouch, want 3:\n%s", n, o.log)
	}
}

// TestOthersAreNoHint: what happens beside the files, and that they are read, is nothing.
func TestOthersAreNoHint(t *testing.T) {
	o := start(t)
	o.mkdir("f")
	o.write("f/a", "one")
	o.link("f/a", "l")
	if !o.attend(o.in("l")) {
		t.Fatalf("no vouch; log:\n%s", o.log)
	}
	o.write("f/b", "one")
	o.write("b", "one")
	o.must(os.Chmod(o.in("f/b"), 0o644), os.Remove(o.in("f/b")))
	o.mkdir("g")
	o.link("g", "m")
	for range 3 {
		if _, err := os.ReadFile(o.in("l")); err != nil {
			t.Fatal(err)
		}
		o.clock.advance(time.Minute)
		if !o.attend(o.in("l")) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
	}
	if o.told() {
		t.Error("a hint of what happened to others")
	}
}

// TestNoVouch names what cannot be vouched for.
func TestNoVouch(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	o.link("loop", "loop")
	o.link("/proc/self/status", "far")
	for _, path := range []string{"none/a", "a/b", "loop", "far"} {
		if !o.attend() || !o.attend(o.in("a")) {
			t.Errorf("no vouch for the others; log:\n%s", o.log)
		}
		if o.attend(o.in("a"), o.in(path)) {
			t.Errorf("vouched for %s", path)
		}
		if in := o.kernel.WatchList(); len(in) > 0 {
			t.Errorf("watched for %s, in vain: %v", path, in)
		}
	}
	if os.Getuid() != 0 { // whom nothing stops
		o.mkdir("closed")
		o.must(os.Chmod(o.in("closed"), 0o100))
		if o.attend(o.in("closed/a")) {
			t.Error("vouched for what is in a folder that cannot be read")
		}
	}
}

// TestFileSystems: a type that is not known to be local is not.
func TestFileSystems(t *testing.T) {
	for kind, want := range map[uint32]bool{
		unix.EXT4_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true,
		unix.NFS_SUPER_MAGIC: false, unix.SMB_SUPER_MAGIC: false, unix.SMB2_SUPER_MAGIC: false, unix.CIFS_SUPER_MAGIC: false,
		unix.FUSE_SUPER_MAGIC: false, unix.V9FS_MAGIC: false, unix.CEPH_SUPER_MAGIC: false, unix.PROC_SUPER_MAGIC: false, 0x6a656a63: false,
	} {
		if got := local(kind); got != want {
			t.Errorf("%#x: local is %t", kind, got)
		}
	}
}

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
			for _, path := range o.kernel.WatchList() {
				if strings.HasPrefix(path, o.in("f")) {
					t.Errorf("%s is still watched", path)
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

// TestLimits: what the kernel refuses is said once, and tried again later.
func TestLimits(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	var before unix.Rlimit
	o.must(unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	o.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: before.Max}))
	vouched := o.attend(o.in("a"))
	o.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	for range 3 {
		if vouched {
			t.Fatal("vouched without a descriptor")
		}
		vouched = o.attend(o.in("a"))
	}
	if n := strings.Count(o.log.String(), "level=INFO"); n != 1 || strings.Count(o.log.String(), "\n") != 1 {
		t.Errorf("said %d times, want once:\n%s", n, o.log)
	}
	o.clock.advance(refusedFor)
	if !o.attend(o.in("a")) {
		t.Errorf("no vouch when the kernel has some again; log:\n%s", o.log)
	}
	if err := o.refusal(o.in("a"), &os.SyscallError{Syscall: "inotify_add_watch", Err: unix.ENOSPC}); !errors.Is(err, errRefused) {
		t.Errorf("no watches left is %v", err)
	}
	if n := strings.Count(o.log.String(), "level=INFO"); n != 2 {
		t.Errorf("said %d times, want again after it was over:\n%s", n, o.log)
	}
}

// TestLost: when the kernel's queue was full everything may have changed.
func TestLost(t *testing.T) {
	o := start(t)
	o.write("a", "one")
	for range 2 {
		if !o.attend(o.in("a")) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		o.told()
		o.lost()
		o.wait()
		if !o.attend(o.in("a")) {
			t.Fatalf("no vouch; log:\n%s", o.log)
		}
		o.told()
		o.write("a", "two")
		o.wait()
	}
}

// inotifies are the inotify descriptors of this process, and their flags.
func inotifies(t *testing.T) map[string]uint64 {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]uint64{}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || !strings.Contains(target, "inotify") {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		var flags uint64
		for line := range strings.Lines(string(info)) {
			if text, ok := strings.CutPrefix(line, "flags:"); ok {
				if flags, err = strconv.ParseUint(strings.TrimSpace(text), 8, 64); err != nil {
					t.Fatal(err)
				}
			}
		}
		found[e.Name()] = flags
	}
	return found
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
	for fd, flags := range found {
		if flags&unix.O_CLOEXEC == 0 {
			t.Errorf("descriptor %s is inherited: flags %#o", fd, flags)
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
	if left := o.kernel.WatchList(); len(left) > 0 {
		t.Errorf("watched for nobody: %v", left)
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

// TestManyWatches runs watches side by side that come, go and are hinted, which the
// race detector looks at, while whole folders are moved away and removed.
func TestManyWatches(t *testing.T) {
	o := start(t)
	var all sync.WaitGroup
	for i := range 8 {
		dir := fmt.Sprint("d", i/2)
		o.mkdir(dir)
		all.Go(func() {
			for n := range 50 {
				hinted := make(chan struct{}, 1)
				attend, end := o.Watch(func() { signal(hinted) })
				path := o.in(filepath.Join(dir, fmt.Sprint(i)))
				if attend([]string{path}) {
					_ = os.WriteFile(path, []byte(strconv.Itoa(n)), 0o600)
					select {
					case <-hinted:
					case <-time.After(time.Minute):
						t.Errorf("no hint of %s", path)
					}
				}
				if i%2 == 0 {
					away := fmt.Sprint(o.in(dir), "-", n)
					_ = os.Rename(o.in(dir), away)
					_ = os.RemoveAll(away)
					_ = os.Mkdir(o.in(dir), 0o700)
				}
				attend([]string{path})
				end()
			}
		})
	}
	all.Wait()
}
