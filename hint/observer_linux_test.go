package hint

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
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

// spy stands between the kernel and Hints. It counts by what they are woken.
type spy struct {
	kernel
	also uint32 // is added to the masks of folders

	mu      sync.Mutex // guards everything that follows
	refusal error      // of the kernel to watch anything
	paths   map[int32]string
	counts  map[string]int
}

// spy has a spy stand before the kernel, before that is first asked.
func (o *observer) spy(also uint32) *spy {
	s := &spy{also: also, paths: map[int32]string{}, counts: map[string]int{}}
	o.Hints.open = func() (kernel, error) {
		var err error
		s.kernel, err = openInotify()
		return s, err
	}
	return s
}

// refuse has nothing be watched any more, because of err, or again if that is nil.
func (s *spy) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = err
}

// reads is how often something has come that happened to the place at path or in it.
func (s *spy) reads(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

func (s *spy) watch(path string, mask uint32) (int32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return 0, os.NewSyscallError("inotify_add_watch", s.refusal)
	}
	if mask&unix.IN_ONLYDIR != 0 {
		mask |= s.also
	}
	wd, err := s.kernel.watch(path, mask)
	s.paths[wd] = path
	return wd, err
}

func (s *spy) Read(b []byte) (int, error) {
	n, err := s.kernel.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for e := range events(b[:max(n, 0)]) {
		seen[s.paths[e.wd]] = true
	}
	for path := range seen {
		s.counts[path]++
	}
	return n, err
}
