package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/rest"
)

// disk is files that a watcher looks at, and a broker that has read them.
type disk struct {
	rest          *rest.Rest
	mu            sync.Mutex // held by a test that does not wait
	files, loaded map[string]stamp
	broken        bool // what is there cannot be put in force
	calls         int
	inode         uint64
}

func (d *disk) write(path string) { d.inode++; d.files[path] = stamp{inode: d.inode} }

func (d *disk) watch() *watcher {
	return &watcher{
		rest:     d.rest,
		interval: time.Second,
		inForce: func() map[string]stamp {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.loaded
		},
		stamps: func(paths []string) map[string]stamp {
			d.mu.Lock()
			defer d.mu.Unlock()
			out := map[string]stamp{}
			for _, p := range paths {
				out[p] = d.files[p]
			}
			return out
		},
		changed: func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.calls++
			if !d.broken {
				d.loaded = maps.Clone(d.files)
			}
		},
	}
}

func TestWatcher(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(d *disk, wait func(looks int))
		want int // calls
	}{
		"nothing changes":         {func(_ *disk, wait func(int)) { wait(10) }, 0},
		"one change":              {func(d *disk, wait func(int)) { d.write("a"); wait(10) }, 1},
		"not at once":             {func(d *disk, wait func(int)) { d.write("a"); wait(1) }, 0},
		"a change of many writes": {func(d *disk, wait func(int)) { writes(d, wait, 8); wait(10) }, 1},
		"while it is written":     {func(d *disk, wait func(int)) { writes(d, wait, 8) }, 0},
		"two files, one after":    {func(d *disk, wait func(int)) { d.write("a"); wait(1); d.write("b"); wait(10) }, 1},
		"two changes":             {func(d *disk, wait func(int)) { d.write("a"); wait(5); d.write("a"); wait(5) }, 2},
		"gone for a moment": {func(d *disk, wait func(int)) {
			f := d.files["a"]
			delete(d.files, "a")
			wait(1)
			d.files["a"] = f
			wait(10)
		}, 0},
		"gone":               {func(d *disk, wait func(int)) { delete(d.files, "a"); d.broken = true; wait(10) }, 1},
		"broken, said once":  {func(d *disk, wait func(int)) { d.broken = true; d.write("a"); wait(100) }, 1},
		"broken, then other": {func(d *disk, wait func(int)) { d.broken = true; d.write("a"); wait(9); d.write("a"); wait(9) }, 2},
		"broken, then mended": {func(d *disk, wait func(int)) {
			d.broken = true
			d.write("a")
			wait(9)
			d.broken = false
			d.write("a")
			wait(9)
		}, 2},
		"read by somebody else": {func(d *disk, wait func(int)) { d.write("a"); d.loaded = maps.Clone(d.files); wait(10) }, 0},
		"another file is in force": {func(d *disk, wait func(int)) {
			d.loaded = map[string]stamp{"c": {}}
			d.write("a")
			wait(9)
			d.write("c")
			wait(9)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{rest: rest.New(), files: map[string]stamp{}}
				d.write("a")
				d.write("b")
				d.loaded = maps.Clone(d.files)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.watch().run(ctx) }()
				time.Sleep(time.Second / 2) // between two looks
				d.mu.Lock()
				c.do(d, func(looks int) {
					d.mu.Unlock()
					time.Sleep(time.Duration(looks) * time.Second)
					synctest.Wait()
					d.mu.Lock()
				})
				d.mu.Unlock()
				if d.calls != c.want {
					t.Errorf("%d calls, want %d", d.calls, c.want)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestWatcherRests: with no file to watch there are no looks, until something stirs;
// with one they go on also when nothing does.
func TestWatcherRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{rest: rest.New(), files: map[string]stamp{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.watch().run(ctx) }()
		time.Sleep(5 * time.Second)
		before := d.rest.Wakes()
		time.Sleep(time.Hour)
		if n := d.rest.Wakes() - before; n > 0 {
			t.Errorf("%d looks at nothing", n)
		}
		d.mu.Lock()
		d.write("a")
		d.loaded = maps.Clone(d.files)
		d.mu.Unlock()
		d.rest.Stir() // as a reload does
		time.Sleep(time.Hour)
		d.mu.Lock()
		d.write("a")
		d.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d.calls != 1 {
			t.Errorf("%d calls within two looks after a change, want 1", d.calls)
		}
		cancel()
		<-ended
	})
}

func writes(d *disk, wait func(int), n int) {
	for range n {
		d.write("a")
		wait(1)
	}
}

// Whatever happens: what is good gets in force within two looks after the last
// change, nothing is tried twice, and nothing that has just changed is tried.
func TestWatcherAlwaysGetsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{rest: rest.New(), files: map[string]stamp{"a": {inode: 1}, "b": {inode: 1}}, inode: 1}
		d.loaded = maps.Clone(d.files)
		w := d.watch()
		changed := w.changed
		var before map[string]stamp
		tried := map[string]bool{}
		w.changed = func() {
			if !maps.Equal(before, d.files) {
				t.Fatal("read while it changes")
			}
			state := fmt.Sprint(d.files)
			if tried[state] {
				t.Fatal("the same is tried again")
			}
			tried[state] = true
			changed()
		}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			d.broken = rapid.Bool().Draw(t, "broken")
			if rapid.Bool().Draw(t, "write") {
				d.write(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "file"))
			}
			w.look()
			before = maps.Clone(d.files)
		}
		d.broken = false
		d.write("a")
		for range 2 {
			w.look()
			before = maps.Clone(d.files)
		}
		if !maps.Equal(d.loaded, d.files) {
			t.Fatalf("in force is %v, there is %v", d.loaded, d.files)
		}
	})
}

// Every way to change a file changes its stamp, also one that hides.
func TestStampTellsChanges(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	at := time.Now().Add(-time.Hour)
	put := func(path, text string) {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	put(path, "one")
	for name, change := range map[string]func() error{
		"size":                         func() error { put(path, "longer than one"); return nil },
		"mode":                         func() error { return os.Chmod(path, 0o644) },
		"time":                         func() error { return os.Chtimes(path, at, time.Now()) },
		"another of the same age":      func() error { put(other, "two"); return os.Rename(other, path) },
		"gone":                         func() error { return os.Remove(path) },
		"a link to the same elsewhere": func() error { put(other, "one"); return os.Symlink(other, path) },
	} {
		_ = os.Remove(path)
		put(path, "one")
		before := stampOf(path)
		if stampOf(path) != before {
			t.Fatal("a stamp changes by itself")
		}
		if name == "a link to the same elsewhere" {
			_ = os.Remove(path)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if after := stampOf(path); after == before {
			t.Errorf("%s: %+v, as before", name, after)
		}
	}
}

// A broker takes what has changed, keeps what it has where that is broken, and
// says so once; with watch off it leaves files alone.
func TestAccessIsWatched(t *testing.T) {
	for _, watch := range []bool{true, false} {
		dir := t.TempDir()
		users, rules := filepath.Join(dir, "users"), filepath.Join(dir, "rules")
		write := func(path, text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(users, "# no users\n")
		write(rules, "allow any all a\n")
		var log brokertest.Log
		cfg := DefaultConfig()
		cfg.Listeners[0].Address = "127.0.0.1:0"
		cfg.Access.Passwords, cfg.Access.Rules, cfg.Access.Watch = users, []string{rules}, watch
		b, err := New(cfg, WithoutControl(), WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := b.accessWatcher()
		look := func() (rules int) {
			for range 5 {
				w.look()
			}
			return b.files.policy.Size()
		}
		want := func(rules int) {
			t.Helper()
			if !watch {
				rules = 1
			}
			if got := look(); got != rules {
				t.Errorf("watch %t: %d rules are in force, want %d", watch, got, rules)
			}
		}
		want(1)
		write(rules, "allow any all a\nallow any all b\n")
		want(2)
		write(rules, "allow any all a\nallow any all b\nalow any all c\n")
		want(2)
		if err := os.Chmod(users, 0o644); err != nil { // would do, but the rules are still broken
			t.Fatal(err)
		}
		want(2)
		write(rules, "allow any all a\nallow any all b\nallow any all c\n")
		want(2) // now the users are for all to read
		if err := os.Chmod(users, 0o600); err != nil {
			t.Fatal(err)
		}
		want(3)
		if err := os.Remove(rules); err != nil {
			t.Fatal(err)
		}
		want(3)
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		failed := 4
		if !watch {
			failed = 0
		}
		if n := strings.Count(log.String(), "reload failed"); n != failed {
			t.Errorf("watch %t: said %d times that a reload failed, want %d:\n%s", watch, n, failed, log.String())
		}
	}
}

// A broker that runs looks by itself.
func TestBrokerWatches(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("allow any all a\n")
	cfg := DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	cfg.Access.Rules = []string{rules}
	b, err := New(cfg, WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	b.watchEvery = time.Millisecond
	reloaded := make(chan string, 16)
	b.On("system", func(e events.Event) {
		if d := e.Data.(events.SystemData); d.What == "reloaded" {
			reloaded <- d.Detail
		}
	})
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	write("allow any all a\nallow any all b\nallow any all c\n")
	// What is caught between two writes of one change may be put in force first.
	for detail := ""; !strings.Contains(detail, "3 rules"); {
		select {
		case detail = <-reloaded:
		case <-time.After(time.Minute):
			t.Fatal("the change was not noticed")
		}
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
