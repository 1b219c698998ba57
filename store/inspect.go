package store

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
)

// Session is the state of a session. What it refers to lies in the files.
type Session = relay.SessionState

// Contents is what a store holds, read from its files as a broker would read
// them. Messages stay in the files; see Messages.
type Contents struct {
	Log      journal.Summary
	Damage   []journal.Finding
	Sessions []*Session           // in the order in which they were made; entries have no Message
	Retained map[string]relay.Ref // bodies by topic
	Drops    map[string]uint64    // messages dropped ever, by reason
	Wear     Wear

	disk journal.Disk
}

// attempts is how often a store is read anew that a broker has changed in the
// meantime.
const attempts = 5

// errDone ends a scan that has found what it looked for.
var errDone = errors.New("found")

// Inspect reads the store on disk and changes nothing; journal.ReadDir is
// enough. A broker may run on it: then the contents are those of one moment of
// the time that Inspect takes, without what was not written by then. Damage is
// no error; a store of a newer version is one that wraps a
// *journal.VersionError.
func Inspect(disk journal.Disk) (*Contents, error) {
	c := &Contents{disk: disk}
	var err error
	for range attempts {
		if err = c.read(); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read store: %w", err)
	}
	return c, nil
}

// Empty reports whether there is no store at all.
func (c *Contents) Empty() bool { return c.Log.Segments+c.Log.Old == 0 }

// errMoved: a broker has written a checkpoint between two passes.
var errMoved = errors.New("a broker runs on it and changes it faster than it can be read; try again, or stop the broker")

func (c *Contents) read() (err error) {
	c.Damage = nil
	if c.Log, err = journal.Verify(c.disk, func(f journal.Finding) { c.Damage = append(c.Damage, f) }); err != nil {
		return err
	}
	if err := checkFormat(c.Log); err != nil {
		return err
	}
	r := newReplay()
	segments := make(map[uint32]bool)
	sum, err := journal.Scan(c.disk, func(rec journal.Record) error {
		segments[rec.Pos.Segment()] = true
		if rec.Pos.Segment() < c.Log.Root { // it is there for those who refer to it
			return nil
		}
		return r.record(rec)
	})
	if err != nil {
		return err
	}
	if sum.Root != c.Log.Root {
		return errMoved
	}
	c.Retained, c.Drops, c.Wear = r.retained, r.drops, r.wear
	return c.take(r, func(ref relay.Ref) bool { return segments[journal.Pos(ref).Segment()] })
}

// take makes the sessions of r, in the order in which their queues would be
// recovered. there is for unfold.
func (c *Contents) take(r *replay, there func(relay.Ref) bool) error {
	c.Sessions = r.states()
	var refs []relay.Ref
	for _, st := range c.Sessions {
		for _, chunk := range st.Chunks[:r.unfolded(st, there)] {
			refs = append(refs, chunk.Ref)
		}
	}
	entries, err := readChunks(c.disk, refs)
	if err != nil {
		return err
	}
	for _, st := range c.Sessions {
		r.unfold(st, there, func(chunk relay.Chunk) []relay.Entry { return entries[chunk.Ref] })
	}
	return nil
}

// find scans for the records at refs and calls found for each.
func find(disk journal.Disk, refs []relay.Ref, found func(ref relay.Ref, typ byte, data []byte)) error {
	if len(refs) == 0 {
		return nil
	}
	var err error
	for range attempts {
		left := make(map[relay.Ref]bool, len(refs))
		for _, ref := range refs {
			left[ref] = true
		}
		_, err = journal.Scan(disk, func(rec journal.Record) error {
			if ref := relay.Ref(rec.Pos); left[ref] {
				delete(left, ref)
				if typ, data, err := upgraded(rec.Format, rec.Type, rec.Data); err == nil {
					found(ref, typ, data)
				}
			}
			if len(left) == 0 {
				return errDone
			}
			return nil
		})
		if errors.Is(err, errDone) {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// readChunks reads the entries of chunks. Those that cannot be read are missing.
func readChunks(disk journal.Disk, refs []relay.Ref) (map[relay.Ref][]relay.Entry, error) {
	out := make(map[relay.Ref][]relay.Entry)
	err := find(disk, refs, func(ref relay.Ref, typ byte, data []byte) {
		if c, err := decodeChange(typ, data); err == nil && c.Kind == relay.Spilled {
			out[ref] = c.Entries
		}
	})
	return out, err
}

// Queued is how many messages wait in st or are not acknowledged yet.
func Queued(st *Session) (n int) {
	for _, e := range slices.Concat(st.Front, st.Tail) {
		if !e.HalfAcked {
			n++
		}
	}
	for _, c := range st.Chunks {
		n += c.Entries
	}
	return n
}
