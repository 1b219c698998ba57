package journal

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// Finding is damage, and what it touches.
type Finding struct {
	Damage
	// Replayed: it lies where replay reads. Else it can only hit records that
	// are held.
	Replayed bool
}

// Summary is a log as Verify and Scan find it.
type Summary struct {
	Segments   int   // that replay reads
	Old        int   // segments before the root
	Spares     int   // files without records
	Records    int64 // that replay yields
	OldRecords int64 // before the root, needed or not
	Bytes      int64 // of all records, heads included
	UsedBytes  int64 // of all files
	Root, Head uint32
	Format     uint16 // the latest of the records
	Clock      time.Duration
	Torn       Torn  // cut at the next Open
	Lost       int64 // records lost to damage: at least so many
	Aside      []string
}

// verifyTries is how often Verify reads a log that changes meanwhile; one that does
// not, and is damaged, is read twice.
const verifyTries = 10

// Verify reads every segment, also those before the root, and reports what is
// damaged. It changes nothing, and wants no lock: use ReadDir. Of a log that
// is open meanwhile it may see a torn tail; one that gives up segments faster
// than they can be read is an error that wraps fs.ErrNotExist.
func Verify(disk Disk, report func(Finding)) (Summary, error) {
	for tries := 1; ; tries++ {
		before, err := disk.List()
		if err != nil {
			return Summary{}, err
		}
		var list []Finding
		sum, recycling, err := inspect(disk, func(Record) error { return nil }, func(f Finding) { list = append(list, f) })
		gone := errors.Is(err, fs.ErrNotExist)
		if gone || len(list) > 0 {
			live := recycling || changed(disk, before) // the log is open, and has recycled what was being read
			if live && tries < verifyTries {
				time.Sleep(time.Duration(tries) * 10 * time.Millisecond)
				continue
			}
			if !live && tries == 1 {
				continue // it may have begun to
			}
		}
		if err != nil {
			return sum, err
		}
		for _, f := range list {
			report(f)
		}
		return sum, nil
	}
}

// changed reports whether the files are others than before.
func changed(disk Disk, before []FileInfo) bool {
	now, err := disk.List()
	if err != nil || len(now) != len(before) {
		return true
	}
	names := map[string]bool{}
	for _, f := range before {
		names[f.Name] = true
	}
	for _, f := range now {
		if !names[f.Name] {
			return true
		}
	}
	return false
}

// Scan calls visit for each valid record, also those before the root, in order.
// Else it is like Verify, but reads once. Of a log that is open meanwhile it may
// miss what is recycled while it reads.
func Scan(disk Disk, visit func(Record) error) (Summary, error) {
	sum, _, err := inspect(disk, visit, func(Finding) {})
	return sum, err
}

// inspect reports, besides, whether it has met a segment that was on its way to
// become a spare: its header says so already, and its name does not yet. What is
// missing then may be that, since a log that is not open does not miss it.
func inspect(disk Disk, visit func(Record) error, report func(Finding)) (sum Summary, recycling bool, err error) {
	v, err := look(disk)
	if err != nil {
		return Summary{}, false, err
	}
	recycling = slices.ContainsFunc(v.files, func(s *segmentFile) bool { return s.spare && s.h.number != s.named })
	sum = Summary{
		Segments: len(v.chain), Old: len(v.old), Spares: len(v.rest),
		Root: v.root, UsedBytes: v.other, Aside: v.bad,
	}
	for _, s := range v.files {
		sum.UsedBytes += s.size
	}
	for _, n := range v.numbers() {
		sum.Format = max(sum.Format, v.begun[n].h.format)
	}
	old, r := &Recovery{}, &Recovery{}
	for _, s := range v.old {
		if err := v.replaySegment(s, old, visit); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return sum, recycling, err
		}
	}
	if err := v.replay(r, nil, visit); err != nil {
		return sum, recycling, err
	}
	if n := len(v.chain); n > 0 {
		sum.Head = v.chain[n-1].number
	}
	sum.Records, sum.OldRecords, sum.Bytes = r.Records, old.Records, r.Bytes+old.Bytes
	sum.Torn, sum.Clock, sum.Lost = r.Torn, v.clock, r.Lost+old.Lost
	for _, d := range r.Damage {
		report(Finding{Damage: d, Replayed: d.Segment >= v.root})
	}
	return sum, recycling, nil
}
