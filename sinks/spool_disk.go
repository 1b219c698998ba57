package sinks

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

const (
	spoolSuffix   = ".jsonl"
	spoolPosition = "position"
	spoolParts    = 8 // into which the bound is divided: files are deleted as a whole
)

// disk is a spool in a folder: files of lines with ascending numbers, of which
// the last one grows, and how far the first one has been read. Nothing is synced,
// which would wear flash: a crash of the process loses nothing, a power cut what
// the kernel had not written, and both may bring back lines that were removed
// last. Once it is empty the file is cut, so that what passes quickly is never
// written at all.
type disk struct {
	dir           string
	segment, most int64
	list          []part // oldest first
	at            int64  // how far the first of list has been read
	saved         saved
	number        uint64 // of the last file that there was
	last          *os.File
	first         *os.File // list[0], open for reading
	position      *os.File
	count         int
}

// saved is what the file position says.
type saved struct {
	number uint64 // of the first file
	at     int64
}

// part is one file.
type part struct {
	number uint64
	size   int64
}

func (d *disk) path(number uint64) string {
	return filepath.Join(d.dir, fmt.Sprintf("%016x%s", number, spoolSuffix))
}

// openDisk opens the spool in dir, which is made, with what is there.
func openDisk(dir string, most int64) (_ *disk, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for events that wait: %w", err)
	}
	d := &disk{dir: dir, segment: most / spoolParts, most: most}
	defer func() {
		if err != nil {
			_ = d.close() // the error says more
		}
	}()
	if d.position, err = os.OpenFile(filepath.Join(dir, spoolPosition), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open position of events that wait: %w", err)
	}
	if err := d.find(); err != nil {
		return nil, err
	}
	d.resume()
	for i := range d.list {
		from := int64(0)
		if i == 0 {
			from = d.at
		}
		if err := d.mend(&d.list[i], from); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// find lists the files.
func (d *disk) find() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("read folder of events that wait: %w", err)
	}
	for _, e := range entries {
		var number uint64
		if _, err := fmt.Sscanf(e.Name(), "%016x"+spoolSuffix, &number); err != nil || d.path(number) != filepath.Join(d.dir, e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone in the meantime, or nothing of ours
		}
		d.list = append(d.list, part{number, info.Size()})
	}
	slices.SortFunc(d.list, func(a, b part) int { return cmp.Compare(a.number, b.number) })
	if n := len(d.list); n > 0 {
		d.number = d.list[n-1].number
	}
	return nil
}

// resume finds out how far the first file has been read. A position that makes no
// sense is the beginning: lines may come twice, but none is left out.
func (d *disk) resume() {
	text := make([]byte, 64)
	n, _ := d.position.ReadAt(text, 0)
	var number uint64
	var at int64
	if _, err := fmt.Sscanf(string(text[:n]), "%016x %016x\n", &number, &at); err != nil {
		return
	}
	d.number = max(d.number, number)
	for len(d.list) > 0 && d.list[0].number < number && os.Remove(d.path(d.list[0].number)) == nil {
		d.list = d.list[1:] // it had been read
	}
	if len(d.list) > 0 && d.list[0].number == number && at > 0 && at <= d.list[0].size {
		before := make([]byte, 1)
		f, err := os.Open(d.path(number))
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }()
		if _, err := f.ReadAt(before, at-1); err == nil && before[0] == '\n' {
			d.at = at
		}
	}
}

// mend counts the lines of a file from there on, and cuts off the end of one that
// a crash has left half written.
func (d *disk) mend(p *part, from int64) error {
	f, err := os.OpenFile(d.path(p.number), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open events that wait: %w", err)
	}
	defer func() { _ = f.Close() }()
	end := from
	buf := make([]byte, 64<<10)
	for at := from; ; {
		n, err := f.ReadAt(buf, at)
		d.count += bytes.Count(buf[:n], []byte("\n"))
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end = at + int64(i) + 1
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read events that wait: %w", err)
		}
	}
	if end == p.size {
		return nil
	}
	if err := f.Truncate(end); err != nil {
		return fmt.Errorf("mend events that wait: %w", err)
	}
	p.size = end
	return nil
}

func (d *disk) append(line []byte) error {
	n := int64(len(line)) + 1
	if d.bytes()+n > d.most {
		return errFull
	}
	if d.last == nil {
		if err := d.openLast(); err != nil {
			return err
		}
	}
	p := &d.list[len(d.list)-1]
	wrote, err := d.last.Write(append(line, '\n'))
	if err == nil {
		p.size += n
		d.count++
		return nil
	}
	if wrote > 0 { // half a line would spoil the next one
		_ = d.last.Truncate(p.size) // if it stays, openLast sees that and begins another file
	}
	_ = d.last.Close() // the error above says more
	d.last = nil
	return err
}

// openLast opens the file that grows, or begins one.
func (d *disk) openLast() error {
	if n := len(d.list); n > 0 {
		if p := d.list[n-1]; p.size < d.segment && d.whole(p) {
			f, err := os.OpenFile(d.path(p.number), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return fmt.Errorf("open events that wait: %w", err)
			}
			d.last = f
			return nil
		}
	}
	f, err := os.OpenFile(d.path(d.number+1), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin file of events that wait: %w", err)
	}
	d.number++
	d.last = f
	d.list = append(d.list, part{number: d.number})
	return nil
}

// whole reports whether the last line of p is complete.
func (d *disk) whole(p part) bool {
	info, err := os.Stat(d.path(p.number))
	return err == nil && info.Size() == p.size
}

func (d *disk) peek(n, size int) (lines [][]byte, damaged int, ready mark) {
	for d.count > 0 && len(d.list) > 0 {
		if d.first == nil {
			f, err := os.Open(d.path(d.list[0].number))
			if err != nil {
				d.skipFirst()
				continue
			}
			d.first = f
		}
		buf := make([]byte, min(int64(max(size, maxLine+1)), d.list[0].size-d.at))
		if _, err := d.first.ReadAt(buf, d.at); err != nil && !errors.Is(err, io.EOF) {
			d.skipFirst()
			continue
		}
		ready = mark{}
		damaged = 0
		for len(buf) > 0 && len(lines) < n {
			line, rest, whole := bytes.Cut(buf, []byte("\n"))
			if !whole && len(line) <= maxLine {
				break
			}
			if size -= len(line); size < 0 && len(lines) > 0 {
				break
			}
			buf = rest
			ready.bytes += int64(len(line))
			if !whole { // nobody has written that
				break
			}
			ready.bytes++
			ready.lines++
			if len(line) <= maxLine && json.Valid(line) {
				lines = append(lines, line)
			} else {
				damaged++
			}
		}
		if len(lines) > 0 || damaged > 0 {
			return lines, damaged, ready
		}
		if ready.bytes > 0 {
			d.at += ready.bytes
			continue
		}
		d.skipFirst() // nothing but half a line
	}
	return nil, 0, mark{}
}

// skipFirst gives up the rest of the first file, which cannot be read.
func (d *disk) skipFirst() {
	d.dropFirst()
	d.count = 0
	for i := range d.list {
		if err := d.mend(&d.list[i], 0); err != nil {
			continue // it is given up in its turn
		}
	}
}

// dropFirst deletes the first file.
func (d *disk) dropFirst() {
	if d.first != nil {
		_ = d.first.Close()
		d.first = nil
	}
	if len(d.list) == 1 && d.last != nil {
		_ = d.last.Close()
		d.last = nil
	}
	_ = os.Remove(d.path(d.list[0].number)) // what stays is passed over after a start
	d.list = d.list[1:]
	d.at = 0
}

func (d *disk) remove(ready mark) error {
	if len(d.list) == 0 {
		return nil
	}
	d.count -= ready.lines
	d.at += ready.bytes
	switch {
	case d.at < d.list[0].size:
		return d.save(d.list[0].number, d.at)
	case len(d.list) > 1 || d.last == nil || d.list[0].size >= d.segment:
		err := d.save(d.list[0].number+1, 0) // first: lines may come twice, and must not be left out
		d.dropFirst()
		return err
	}
	if err := d.save(d.list[0].number, 0); err != nil {
		return err
	}
	if err := d.last.Truncate(0); err != nil {
		return fmt.Errorf("cut events that have been sent: %w", err)
	}
	d.list[0].size, d.at = 0, 0
	return nil
}

// save writes how far the first file has been read.
func (d *disk) save(number uint64, at int64) error {
	if now := (saved{number, at}); now != d.saved {
		if _, err := d.position.WriteAt(fmt.Appendf(nil, "%016x %016x\n", number, at), 0); err != nil {
			return fmt.Errorf("write position of events that wait: %w", err)
		}
		d.saved = now
	}
	return nil
}

func (d *disk) len() int { return d.count }

func (d *disk) bytes() (n int64) {
	for _, p := range d.list {
		n += p.size
	}
	return n
}

func (d *disk) keeps() bool { return true }

func (d *disk) close() error {
	for _, f := range []*os.File{d.first, d.last, d.position} {
		if f != nil {
			_ = f.Close() // nothing of them waits here
		}
	}
	return nil
}
