package hint

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
		"written through a mapping": {one, func(o *observer) {
			f, err := os.OpenFile(o.in("a"), os.O_RDWR, 0)
			o.must(err)
			m, err := unix.Mmap(int(f.Fd()), 0, 3, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			o.must(err, f.Close())
			copy(m, "two")
			o.must(unix.Munmap(m))
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
		"another mode of the folder": {
			func(o *observer) string { o.mkdir("f"); o.write("f/a", "one"); return "f/a" },
			func(o *observer) { o.must(os.Chmod(o.in("f"), 0o750)) },
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

// TestOneFileOfTwoWatches: of a file with two names, each watched by somebody else, both
// hear, also when the other has given it up.
func TestOneFileOfTwoWatches(t *testing.T) {
	o := start(t)
	o.mkdir("f")
	o.write("a", "one")
	o.must(os.Link(o.in("a"), o.in("f/b")))
	hinted := make(chan struct{}, 1)
	other, end := o.Watch(func() { signal(hinted) })
	if !o.attend(o.in("a")) || !other([]string{o.in("f/b")}) {
		t.Fatalf("no vouch; log:\n%s", o.log)
	}
	o.write("a", "two")
	if !o.told() || len(hinted) == 0 {
		t.Error("a change of a file with two names was not told to both")
	}
	if !o.attend(o.in("a")) {
		t.Fatalf("no vouch; log:\n%s", o.log)
	}
	end()
	o.told()
	o.write("f/b", "three")
	o.wait()
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
