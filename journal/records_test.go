package journal_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// formats opens a log of an owner whose records have the given format, and
// returns the formats of those that it finds, each once.
func formats(t *testing.T, d journal.Disk, format uint16) (*journal.Log, []uint16) {
	t.Helper()
	o := small(d)
	o.Format = format
	var found []uint16
	l, _, err := journal.Open(o, func(r journal.Record) error {
		if !slices.Contains(found, r.Format) {
			found = append(found, r.Format)
		}
		return nil
	})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l, found
}

// An owner finds records as it wrote them, and after a checkpoint none of an
// earlier format.
func TestFormats(t *testing.T) {
	d := faultdisk.New(1)
	l, found := formats(t, d, 1)
	if len(found) > 0 {
		t.Errorf("a new log has formats %v", found)
	}
	held := fill(l, 0, 30, 400) // each segment is needed, and nearly full of what is
	must(t, commit(l, journal.Sync))
	must(t, l.Close())

	l, found = formats(t, d, 2)
	if !slices.Equal(found, []uint16{1}) {
		t.Errorf("found formats %v", found)
	}
	for _, e := range held {
		l.Hold(e.pos, len(e.data))
	}
	fresh := fill(l, 100, 3, 400)
	for _, e := range fresh {
		l.Hold(e.pos, len(e.data))
	}
	if f := l.Format(held[0].pos); f != 1 {
		t.Errorf("old record has format %d", f)
	}
	if f := l.Format(fresh[0].pos); f != 2 {
		t.Errorf("new record has format %d", f)
	}
	must(t, l.Checkpoint(func() error {
		for _, e := range held {
			if !l.Vacate(e.pos) {
				t.Errorf("the record at %v is to stay", e.pos)
			}
			l.Hold(l.Append(e.typ, []byte(e.data)), len(e.data))
		}
		return nil
	}))
	for _, e := range held {
		l.Release(e.pos, len(e.data))
	}
	left := func(e entry) bool { return l.Format(e.pos) != 0 }
	for i := 0; i < 1000 && slices.ContainsFunc(held, left); i++ { // the log tidies up as it goes on
		fill(l, i, 1, 10)
		must(t, commit(l, journal.Sync))
	}
	must(t, l.Close())
	l, found = formats(t, d, 2)
	if !slices.Equal(found, []uint16{2}) {
		t.Errorf("after the checkpoint: formats %v", found)
	}
	must(t, l.Close())
	sum, err := journal.Scan(d, func(r journal.Record) error {
		if r.Format != 2 {
			t.Errorf("record at %v has format %d", r.Pos, r.Format)
		}
		return nil
	})
	if err != nil || sum.Format != 2 {
		t.Errorf("scanned: format %d, %v", sum.Format, err)
	}

	before := d.Clone()
	o := small(d)
	o.Format = 1
	_, _, _, err = tryOpen(o)
	var v *journal.VersionError
	if !errors.As(err, &v) || !v.Records || v.Found != 2 || v.Known != 1 {
		t.Errorf("an earlier owner: %v", err)
	}
	for _, name := range before.Names() {
		if string(before.Get(name)) != string(d.Get(name)) {
			t.Errorf("%s was changed", name)
		}
	}
}
