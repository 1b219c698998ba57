package hint

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// stateOf is what tells a file from what it was before, links followed.
func stateOf(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err.Error()
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		// What is made and removed in a folder is not what a path to it leads to.
		return fmt.Sprint(st.Dev, st.Ino, st.Mode)
	}
	return fmt.Sprint(st.Dev, st.Ino, st.Mode, st.Size, st.Mtim, st.Ctim)
}

// TestNoChangeIsMissed: whatever is done to files, folders and links, in whatever
// order, is hinted if it has changed what a path leads to and there was a vouch.
func TestNoChangeIsMissed(t *testing.T) {
	root := start(t).dir // skips where nothing can be vouched for
	round, changes := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(root, fmt.Sprint(round))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		o := observe(t, dir)
		defer func() {
			o.must(o.Close(), os.RemoveAll(dir))
		}()
		for _, f := range []string{"p/q", "r"} {
			o.mkdir(f)
		}
		folder := rapid.SampledFrom([]string{"", "p", "p/q", "r", "s"})
		name := rapid.SampledFrom([]string{"a", "b", "p", "q", "r", "s"})
		entry := rapid.Custom(func(t *rapid.T) string { return filepath.Join(folder.Draw(t, "folder"), name.Draw(t, "name")) })
		paths := rapid.SliceOfN(entry, 1, 3).Draw(t, "paths")
		for i := range paths {
			paths[i] = o.in(paths[i])
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			vouched := o.attend(paths...)
			o.told()
			var before []string
			for _, path := range paths {
				before = append(before, stateOf(path))
			}
			what := change(t, o, entry)
			told := o.told()
			if !vouched {
				continue
			}
			for i, path := range paths {
				after := stateOf(path)
				if after != before[i] {
					changes++
				}
				if after != before[i] && !told {
					t.Fatalf("%s was not hinted, and %s is another: %s, then %s", what, path, before[i], after)
				}
			}
		}
	})
	if changes < 10*round/100 {
		t.Errorf("%d changes in %d rounds that were to be hinted: this tests little", changes, round)
	}
}

// change does something. It may fail, and then has changed nothing.
func change(t *rapid.T, o *observer, entry *rapid.Generator[string]) string {
	a, b := o.in(entry.Draw(t, "a")), o.in(entry.Draw(t, "b"))
	var err error
	what := rapid.SampledFrom([]string{"write", "append", "rename", "link", "hard link", "mkdir", "remove", "remove all", "chmod", "touch", "exchange"}).Draw(t, "what")
	switch what {
	case "write":
		err = os.WriteFile(a, []byte("text"), 0o600)
	case "append":
		var f *os.File
		if f, err = os.OpenFile(a, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			_, err = f.WriteString("more")
			_ = f.Close()
		}
	case "rename":
		err = os.Rename(a, b)
	case "exchange":
		err = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	case "link":
		target := rapid.SampledFrom([]string{b, "a", "q", "../r", "p", "../p/q/a", "nothing/there"}).Draw(t, "target")
		err = os.Symlink(target, a)
	case "hard link":
		err = os.Link(a, b)
	case "mkdir":
		err = os.Mkdir(a, 0o700)
	case "remove":
		err = os.Remove(a)
	case "remove all":
		err = os.RemoveAll(a)
	case "chmod":
		err = os.Chmod(a, rapid.SampledFrom([]os.FileMode{0o600, 0o700, 0o750}).Draw(t, "mode"))
	case "touch":
		at := o.clock.now().Add(-1)
		err = os.Chtimes(a, at, at)
	}
	return fmt.Sprintf("%s %s %s (%v)", what, a, b, err)
}
