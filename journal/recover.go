package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// Damage is a place in the log that is not as it was written.
type Damage struct {
	Segment uint32
	File    string // "" if missing
	Offset  int64
	Bytes   int64 // of the place; 0 if unknown
	Reason  string
}

func (d Damage) String() string {
	switch {
	case d.File == "":
		return d.Reason
	case d.Bytes == 0:
		return fmt.Sprintf("segment %s: %s", d.File, d.Reason)
	}
	return fmt.Sprintf("segment %s: bytes %d to %d: %s", d.File, d.Offset, d.Offset+d.Bytes, d.Reason)
}

// Recovery is what Open found.
type Recovery struct {
	New      bool // there was no log
	Segments int  // replayed
	Records  int64
	Bytes    int64 // of records, heads included
	Torn     Torn
	Damage   []Damage
	Lost     int64    // records lost to damage: at least so many
	Aside    []string // files with copies of damaged segments, made now
	Duration time.Duration
}

var errEnough = errors.New("no need to read on")

func trimBad(name string) string { return strings.TrimSuffix(name, badSuffix) }

// replay hands the records from the root on to visit, and tells progress, if it is
// not nil, how far it is.
func (v *survey) replay(r *Recovery, progress func(done, total int64), visit func(Record) error) error {
	if progress == nil {
		progress = func(_, _ int64) {}
	}
	var done, total int64
	for _, s := range v.chain {
		total += s.size
	}
	for _, s := range v.chain {
		progress(done, total)
		r.Segments++
		if err := v.replaySegment(s, r, visit); err != nil {
			return err
		}
		done += s.size
	}
	progress(done, total)
	r.Torn = v.torn
	for _, s := range v.files {
		r.Damage = append(r.Damage, s.faults...)
	}
	r.Damage = append(r.Damage, v.faults...)
	return nil
}

// replaySegment hands the records of s to visit, and notes damage in s.
func (v *survey) replaySegment(s *segmentFile, r *Recovery, visit func(Record) error) error {
	var (
		batch mark
		seen  int64
		holed bool // in this batch, or at its end
		clock = s.h.clock
	)
	settle := func() {
		if holed {
			r.Lost += max(0, int64(batch.records)-seen)
		}
		seen, holed = 0, false
	}
	hole := func(from, to int64) {
		holed = true
		s.damage(from, to, "no valid record")
	}
	err := v.with(s, func(w *walker) error {
		defer func() {
			if w.unreadable > 0 {
				s.damage(0, w.unreadable, "the disk cannot read so many bytes of it")
			}
		}()
		return w.walk(min(s.end, s.size), s.exact, func(f frame) error {
			if f.typ >= firstOwn {
				if m, ok := parseMark(f.typ, f.data); ok {
					settle()
					batch, clock = m, m.clock
				}
				return nil
			}
			seen++
			r.Records++
			r.Bytes += recordHead + int64(len(f.data))
			return visit(Record{Pos: at(s.number, f.offset), Type: f.typ, Format: s.h.format, Data: f.data, Clock: clock})
		}, hole)
	})
	if err != nil {
		return err
	}
	if s.exact && s.size < s.end {
		hole(max(s.size, headerSize), s.end)
	}
	settle()
	return nil
}

// settle makes what was found stable: the process that wrote it may have died
// before it synced, or a sync may have failed and left it in memory only. So
// the last batch is written once more; all before was synced before it.
func (v *survey) settle() (err error) {
	if len(v.chain) == 0 {
		return v.disk.Sync()
	}
	s := v.chain[len(v.chain)-1]
	f, err := v.disk.Open(s.name)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, min(windowSize, s.size))
	again := func(from, to int64) error {
		for from < to {
			n, err := f.ReadAt(b[:min(int64(len(b)), to-from)], from)
			if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
				return fmt.Errorf("read segment %s: %w", s.name, err)
			}
			if _, err := f.WriteAt(b[:n], from); err != nil {
				return fmt.Errorf("write segment %s: %w", s.name, err)
			}
			from += int64(n)
		}
		return nil
	}
	if s.intact {
		if err := again(0, headerSize); err != nil {
			return err
		}
	}
	if v.last > 0 {
		if err := again(v.last, min(s.end, s.size)); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync segment %s: %w", s.name, err)
	}
	return v.disk.Sync()
}

const maxBad = 4 // copies of damaged segments that are kept

// setAside copies damaged segments, so that somebody can look at them: not
// many, and only while room is left.
func (v *survey) setAside(o Options, r *Recovery) {
	used := v.other
	for _, s := range v.files {
		used += s.size
	}
	for _, s := range v.files {
		name := s.name + badSuffix
		if len(s.faults) == 0 || s.spare || len(v.bad) >= maxBad || s.hasCopy(v.bad) ||
			o.MaxBytes > 0 && used+s.size+2*o.SegmentSize > o.MaxBytes {
			continue
		}
		if err := v.copyAside(s, name); err != nil {
			o.Log.Warn("damaged journal segment not copied aside", "segment", s.name, "error", err)
			continue
		}
		v.bad = append(v.bad, name)
		v.other += s.size
		used += s.size
		r.Aside = append(r.Aside, name)
	}
}

func (s *segmentFile) hasCopy(bad []string) bool {
	for _, b := range bad {
		if trimBad(b) == s.name {
			return true
		}
	}
	return false
}

func (v *survey) copyAside(s *segmentFile, name string) (err error) {
	from, err := v.disk.Open(s.name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := v.disk.Create(name, s.size)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, to.Close())
		if err != nil {
			if e := v.disk.Remove(name); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	w := walker{f: from, size: s.size}
	b := make([]byte, min(windowSize, s.size))
	for offset := int64(0); offset < s.size; offset += int64(len(b)) {
		b = b[:min(int64(len(b)), s.size-offset)]
		if err := w.fill(b, offset); err != nil {
			return err
		}
		if _, err := to.WriteAt(b, offset); err != nil {
			return err
		}
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return v.disk.Sync()
}
