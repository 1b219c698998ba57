package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// segmentFile is a file of a log as recovery finds it.
type segmentFile struct {
	name   string
	named  uint32 // the number that its name stands for
	number uint32 // the number that it has
	size   int64
	h      header
	intact bool // the header is good
	known  bool // h is good, from the header or from the first record
	begun  bool // it is a segment of this log with that number
	spare  bool // it says of itself that it is a spare
	end    int64
	exact  bool // end is known, not just the size of the file
	faults []Damage
}

func (s *segmentFile) damage(from, to int64, reason string) {
	s.faults = append(s.faults, Damage{File: s.name, Segment: s.number, Offset: from, Bytes: to - from, Reason: reason})
}

// survey is what recovery finds out before it replays.
type survey struct {
	disk   Disk
	epoch  epoch
	fresh  bool // no log was here
	files  []*segmentFile
	begun  map[uint32]*segmentFile
	chain  []*segmentFile // from the root to the last, ascending
	old    []*segmentFile // begun, before the root
	rest   []*segmentFile // everything else: spares, void segments, garbage
	other  int64          // bytes of files that are no segments
	bad    []string       // copies set aside earlier
	root   uint32
	clock  time.Duration
	faults []Damage // not of one segment
	top    uint32   // the highest number that may have been used
	torn   Torn
	last   int64 // where the last batch of the last segment begins
	empty  bool  // the last segment has no record of the owner
}

// look surveys the log on disk. It changes nothing. The error is of the disk,
// or a *VersionError.
func look(disk Disk) (*survey, error) {
	v := &survey{disk: disk, begun: map[uint32]*segmentFile{}}
	if err := v.readHeaders(); err != nil {
		return nil, err
	}
	v.elect()
	if err := v.identify(); err != nil {
		return nil, err
	}
	if len(v.begun) == 0 {
		v.fresh = true
		v.rest = v.files
		v.missAll()
		return v, nil
	}
	v.guessFormats()
	return v, v.link()
}

// guessFormats gives segments that do not say it the format of those before
// them, or after.
func (v *survey) guessFormats() {
	numbers := v.numbers()
	var last uint16
	for _, n := range numbers {
		if s := v.begun[n]; s.known {
			last = s.h.format
			break
		}
	}
	for _, n := range numbers {
		s := v.begun[n]
		if !s.known {
			s.h.format = last
		}
		last = s.h.format
	}
}

// checkFormat refuses records of a later format than that of the owner.
func (v *survey) checkFormat(known uint16) error {
	for _, n := range v.numbers() {
		if s := v.begun[n]; s.h.format > known {
			return &VersionError{File: s.name, Records: true, Found: uint32(s.h.format), Known: uint32(known)}
		}
	}
	return nil
}

// missAll notes that there was a log, of which no segment is left, if a spare
// tells so: spares have the numbers after the last segment's, and the first
// checkpoint of a log ends what began with number 1.
func (v *survey) missAll() {
	lowest := uint32(likely)
	for _, s := range v.files {
		if s.spare && s.h.number == s.named {
			lowest = min(lowest, s.named)
		}
	}
	if lowest > 2 && lowest < likely {
		v.faults = append(v.faults, Damage{Segment: lowest - 1,
			Reason: fmt.Sprintf("there was a log up to segment %s or so; none of its segments can be read", segmentName(lowest-1))})
	}
}

// readHeaders reads what each segment says about itself.
func (v *survey) readHeaders() error {
	list, err := v.disk.List()
	if err != nil {
		return fmt.Errorf("list the journal's files: %w", err)
	}
	for _, info := range list {
		number, ok := segmentNumber(info.Name)
		if !ok {
			v.other += info.Size
			if _, ok := segmentNumber(trimBad(info.Name)); ok {
				v.bad = append(v.bad, info.Name)
			}
			continue
		}
		s := &segmentFile{name: info.Name, named: number, number: number, size: info.Size}
		if err := v.readHeader(s); errors.Is(err, fs.ErrNotExist) {
			continue // a live log has renamed it
		} else if err != nil {
			return err
		}
		v.files = append(v.files, s)
	}
	slices.SortFunc(v.files, func(a, b *segmentFile) int { return cmp.Compare(a.named, b.named) })
	return nil
}

func (v *survey) readHeader(s *segmentFile) error {
	f, err := v.disk.Open(s.name)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.name, err)
	}
	defer f.Close()
	w := walker{f: f, size: s.size}
	b := make([]byte, headerSize+beginSize)
	if err := w.fill(b[:min(s.size, int64(len(b)))], 0); err != nil {
		return fmt.Errorf("read segment %s: %w", s.name, err)
	}
	h, found, ok, err := parseHeader(b)
	if err != nil {
		return &VersionError{File: s.name, Found: found, Known: version}
	}
	begin, beginOK := parseBegin(b[headerSize:])
	switch {
	case ok:
		s.h, s.intact, s.known = h, true, true
	case beginOK && begin.number == s.named:
		s.h, s.known = begin, true
	}
	return nil
}

// elect finds the epoch: that of most segments. Another one is a stranger.
func (v *survey) elect() {
	votes := map[epoch]int{}
	for _, s := range v.files {
		if s.known {
			votes[s.h.epoch]++
		}
	}
	best := 0
	for _, s := range v.files { // in order, for a tie
		if s.known && votes[s.h.epoch] > best {
			best = votes[s.h.epoch]
			v.epoch = s.h.epoch
		}
	}
}

// identify decides which file is which segment.
func (v *survey) identify() error {
	for _, s := range v.files {
		if s.known && s.h.epoch != v.epoch {
			s.known = false
			s.damage(0, s.size, "belongs to another store")
			continue
		}
		switch {
		case s.known && s.h.kind == kindSpare:
			s.spare = true
		case s.known && s.h.number == s.named:
			v.accept(s, s.named)
		}
	}
	for _, s := range v.files {
		if s.begun || s.spare || len(s.faults) > 0 {
			continue
		}
		if s.known { // under a name that is not its own
			if v.begun[s.h.number] == nil {
				v.accept(s, s.h.number)
				s.damage(0, 0, fmt.Sprintf("is segment %s under another name", segmentName(s.number)))
			} else {
				s.damage(0, s.size, fmt.Sprintf("is a copy of segment %s", segmentName(s.h.number)))
			}
			continue
		}
		found, err := v.hasRecords(s)
		if err != nil {
			return err
		}
		if found {
			v.accept(s, s.named)
		}
	}
	v.files = slices.DeleteFunc(v.files, func(s *segmentFile) bool {
		strange := !s.begun && s.named >= likely && !(s.spare && s.h.number == s.named)
		if strange { // somebody else's file, not ours to touch
			v.other += s.size
		}
		return strange
	})
	// Numbers are used once; only what is certainly unused may be used still.
	for _, s := range v.files {
		if s.named < likely && !(s.spare && s.h.number == s.named) {
			v.top = max(v.top, s.named)
		}
		if s.begun {
			v.top = max(v.top, s.number)
		}
	}
	return nil
}

func (v *survey) accept(s *segmentFile, number uint32) {
	s.begun, s.number = true, number
	v.begun[number] = s
}

// hasRecords reports whether there are records in s for the number of its name.
func (v *survey) hasRecords(s *segmentFile) (found bool, err error) {
	if v.epoch == (epoch{}) {
		return false, nil
	}
	err = v.with(s, func(w *walker) error {
		_, found, err = w.next(headerSize, s.size)
		return err
	})
	return found, err
}

// with opens s for a walk.
func (v *survey) with(s *segmentFile, do func(*walker) error) error {
	f, err := v.disk.Open(s.name)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.name, err)
	}
	defer f.Close()
	w := &walker{f: f, seed: v.epoch.seed(s.number), size: s.size}
	return do(w)
}

// numbers is those of the begun segments, ascending.
func (v *survey) numbers() []uint32 { return slices.Sorted(maps.Keys(v.begun)) }
