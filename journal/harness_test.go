package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// entry is a record as the tests see it.
type entry struct {
	pos  journal.Pos
	typ  byte
	data string
}

// open opens a log on disk and returns it with what it replayed.
func open(t testing.TB, o journal.Options) (*journal.Log, *journal.Recovery, []entry) {
	t.Helper()
	l, r, got, err := tryOpen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, r, got
}

func tryOpen(o journal.Options) (*journal.Log, *journal.Recovery, []entry, error) {
	var got []entry
	l, r, err := journal.Open(o, func(r journal.Record) error {
		got = append(got, entry{r.Pos, r.Type, string(r.Data)})
		return nil
	})
	return l, r, got, err
}

// small is options for small segments on d.
func small(d journal.Disk) journal.Options { return journal.Options{Disk: d, SegmentSize: 4 << 10} }

type result chan error

func (r result) Committed(err error) { r <- err }

// commit waits for what becomes of a Commit.
func commit(l *journal.Log, level journal.Level) error {
	r := make(result, 1)
	l.Commit(level, r)
	return <-r
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text is the i-th of many records that differ: n bytes.
func text(i, n int) string {
	b := binary.AppendUvarint(nil, uint64(i))
	return string(append(b, bytes.Repeat([]byte{byte(i)}, max(0, n-len(b)))...))
}

// fill appends n records of about size bytes, and returns them.
func fill(l *journal.Log, from, n, size int) []entry {
	var out []entry
	for i := from; i < from+n; i++ {
		d := text(i, size)
		typ := byte(i % 0xf0)
		out = append(out, entry{l.Append(typ, []byte(d)), typ, d})
	}
	return out
}

// same says how got differs from want, "" if not. Positions count.
func same(got, want []entry) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("record %d is %v %d %.20q (%d bytes), want %v %d %.20q (%d bytes)", i,
				got[i].pos, got[i].typ, got[i].data, len(got[i].data), want[i].pos, want[i].typ, want[i].data, len(want[i].data))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d records, want %d", len(got), len(want))
	}
	return ""
}

// readable says which of want cannot be read, "" if all can.
func readable(l *journal.Log, want []entry) string {
	var buf []byte
	for i, e := range want {
		typ, data, err := l.Read(e.pos, buf)
		if err != nil {
			return fmt.Sprintf("record %d: %v", i, err)
		}
		if typ != e.typ || string(data) != e.data {
			return fmt.Sprintf("record %d at %v is %d %.20q, want %d %.20q", i, e.pos, typ, data, e.typ, e.data)
		}
		buf = data
	}
	return ""
}

func newDisk() *faultdisk.Disk { return faultdisk.New(1) }

var errDisk = errors.New("the disk says no")
