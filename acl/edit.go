package acl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Append adds rules at the end of the file at path, each on a line of its own,
// and changes nothing else in it. The file must exist, and must parse before
// and after; else it is left as it is. Whoever reads the file sees the old text
// or the new one, also after a crash, and when Append returns nil the new one
// is on the disk. Owner and mode are kept, a symbolic link is followed, and
// edits by several processes wait for each other.
//
// A rule at the end decides nothing if one before it always does: [Policy.Lint]
// of the changed file tells.
func Append(path string, rules ...Rule) error {
	var more strings.Builder
	for i := range rules {
		line := rules[i].String()
		got, err := Parse(path, []byte(line))
		if err != nil {
			return fmt.Errorf("append to access rules: %w", withoutPlace(err))
		}
		if len(got) != 1 || !same(&got[0], &rules[i]) {
			return fmt.Errorf("append to access rules: rule %d cannot be written as one line: %q", i+1, line)
		}
		more.WriteString(line + "\n")
	}
	if len(rules) == 0 {
		return nil
	}
	return edit(path, func(text []byte) ([]byte, error) {
		text = slices.Clip(text)
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		return append(text, more.String()...), nil
	})
}

// Remove takes out of the file at path every rule for which which returns
// true, with its line, and returns how many there were. Comments stay. For the
// rest it promises what [Append] does; a file without such rules is not
// written.
func Remove(path string, which func(*Rule) bool) (removed int, err error) {
	err = edit(path, func(text []byte) ([]byte, error) {
		rules, err := Parse(path, text)
		if err != nil {
			return nil, err
		}
		out := make([]byte, 0, len(text))
		line := 0
		for l := range bytes.Lines(text) {
			line++
			if len(rules) > 0 && rules[0].Line == line {
				gone := which(&rules[0])
				rules = rules[1:]
				if gone {
					removed++
					continue
				}
			}
			out = append(out, l...)
		}
		return out, nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// same reports whether a and b say the same, wherever they stand.
func same(a, b *Rule) bool {
	for s := range selectors {
		if *a.field(s) != *b.field(s) {
			return false
		}
	}
	return a.Allow == b.Allow && a.Action == b.Action && slices.Equal(a.Filters, b.Filters)
}

// withoutPlace is what is wrong with a rule that stands in no file yet.
func withoutPlace(err error) error {
	var bad *Error
	if errors.As(err, &bad) {
		return errors.New(bad.Problem)
	}
	return err
}

// edit replaces the text of the file at path by what change makes of it.
func edit(path string, change func([]byte) ([]byte, error)) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("edit access rules: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("edit access rules: %w", err)
	}
	defer dir.Close() // ends the lock
	if err := lock(dir); err != nil {
		return fmt.Errorf("edit access rules: lock %s: %w", dir.Name(), err)
	}
	text, info, err := readFile(path)
	if err != nil {
		return err
	}
	if _, err := Parse(path, text); err != nil {
		return fmt.Errorf("edit access rules: mend the file first: %w", err)
	}
	after, err := change(text)
	if err != nil || bytes.Equal(after, text) {
		return err
	}
	if _, err := Parse(path, after); err != nil {
		return fmt.Errorf("edit access rules: the file would be: %w", err)
	}
	if err := replace(dir, path, info, after); err != nil {
		return fmt.Errorf("edit access rules: %w", err)
	}
	return nil
}

// lock waits until no other edit is under way in dir.
func lock(dir *os.File) error {
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// replace puts text in the place of the file at path, which info is about.
func replace(dir *os.File, path string, info fs.FileInfo, text []byte) error {
	tmp, err := os.CreateTemp(dir.Name(), "."+filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = keepOwner(tmp, info)
	}
	if err == nil { // after the owner, a change of which can take bits away
		err = tmp.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return dir.Sync()
}

// keepOwner gives f the owner and group that info has.
func keepOwner(f *os.File, info fs.FileInfo) error {
	want, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := now.Sys().(*syscall.Stat_t); ok && is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("keep owner and group of the file: %w; edit it as its owner, or as root", err)
	}
	return nil
}
