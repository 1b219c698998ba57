package recorder

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const suffix = ".jsonl"

// files is a medium in a folder: files with ascending numbers, of which the last
// one grows.
type files struct {
	dir           string
	segment, most int64
	list          []file // oldest first
	last          *os.File
}

type file struct {
	path   string
	number uint64
	size   int64
}

// openFiles opens what is in dir, to go on with the last file.
func openFiles(dir string, most int64) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for events: %w", err)
	}
	list, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	f := &files{dir: dir, segment: most / segments, most: most, list: list}
	if len(list) > 0 {
		if err := f.mend(&f.list[len(list)-1]); err != nil {
			return nil, err
		}
	}
	f.shrink()
	return f, nil
}

// listFiles are the files in dir, oldest first.
func listFiles(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read folder of events: %w", err)
	}
	var list []file
	for _, e := range entries {
		var number uint64
		if _, err := fmt.Sscanf(e.Name(), "%016x"+suffix, &number); err != nil || e.Name() != name(number) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone in the meantime, or nothing of ours
		}
		list = append(list, file{filepath.Join(dir, e.Name()), number, info.Size()})
	}
	slices.SortFunc(list, func(a, b file) int { return cmp.Compare(a.number, b.number) })
	return list, nil
}

func name(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

// mend ends the last line of a file that a crash has cut, so that the next one
// stands by itself, and opens it.
func (f *files) mend(last *file) error {
	h, err := os.OpenFile(last.path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("open events: %w", err)
	}
	f.last = h
	if last.size == 0 {
		return nil
	}
	end := make([]byte, 1)
	if _, err := h.ReadAt(end, last.size-1); err == nil && end[0] == '\n' {
		return nil
	}
	n, err := h.WriteString("\n")
	last.size += int64(n)
	if err != nil {
		_ = f.close() // the error above says more
		return fmt.Errorf("mend events: %w", err)
	}
	return nil
}

func (f *files) append(lines []byte) error {
	if f.last == nil {
		f.resume()
	}
	if f.last == nil || f.list[len(f.list)-1].size >= f.segment {
		if err := f.next(); err != nil {
			return err
		}
	}
	at := &f.list[len(f.list)-1]
	n, err := f.last.Write(lines)
	if err == nil {
		at.size += int64(n)
		f.shrink()
		return nil
	}
	if n > 0 { // half a line would spoil the next one
		_ = f.last.Truncate(at.size) // if it stays, resume sees that
	}
	_ = f.close() // the error above says more
	return err
}

// resume opens the last file again after a failure: were another begun each time,
// a full disk would get one after the other, which have no bytes to be counted by.
// A file that is not as it was left stays as it is, and the next line stands in
// another.
func (f *files) resume() {
	if len(f.list) == 0 {
		return
	}
	last := f.list[len(f.list)-1]
	if info, err := os.Stat(last.path); err != nil || info.Size() != last.size {
		return
	}
	if h, err := os.OpenFile(last.path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		f.last = h
	}
}

// next begins a file.
func (f *files) next() error {
	number := uint64(1)
	if len(f.list) > 0 {
		number = f.list[len(f.list)-1].number + 1
	}
	path := filepath.Join(f.dir, name(number))
	h, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin file of events: %w", err)
	}
	if f.last != nil {
		_ = f.last.Close() // nothing of it waits here
	}
	f.last = h
	f.list = append(f.list, file{path: path, number: number})
	return nil
}

// shrink deletes the oldest files that are too many. One that cannot be deleted
// is tried again.
func (f *files) shrink() {
	for f.bytes() > f.most && len(f.list) > 1 {
		if err := os.Remove(f.list[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
		f.list = f.list[1:]
	}
}

func (f *files) parts() []part { return partsOf(f.list) }

// open reads f up to the size that it had.
func (f file) open() (io.ReadCloser, error) {
	h, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(h, f.size), h}, nil
}

func (f *files) bytes() (n int64) {
	for _, file := range f.list {
		n += file.size
	}
	return n
}

func (f *files) close() error {
	if f.last == nil {
		return nil
	}
	err := f.last.Close()
	f.last = nil
	return err
}
