package journal_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
)

// FuzzRecover puts random bytes where a log should be: it opens, and works.
func FuzzRecover(f *testing.F) {
	s := makeStore(f, false)
	names := segments(s.disk)
	seal := func(b []byte) { // as if somebody meant it
		if len(b) < 512 {
			return
		}
		copy(b, "EDGEJRNL\x01\x00\x00\x00")
		binary.LittleEndian.PutUint32(b[508:], crc32.Checksum(b[:508], crc32.MakeTable(crc32.Castagnoli)))
	}
	f.Add([]byte{}, []byte{}, uint8(0), uint16(0), false)
	f.Add(s.disk.Get(names[0]), s.disk.Get(names[1]), uint8(3), uint16(600), false)
	f.Add(s.disk.Get(names[2]), s.disk.Get(names[3]), uint8(1), uint16(512), true)
	f.Add([]byte{7, 0, 0, 0}, []byte{}, uint8(130), uint16(36), true)
	f.Add([]byte{1, 0, 0, 0, 9}, []byte{}, uint8(131), uint16(40), true)
	f.Fuzz(func(t *testing.T, a, b []byte, which uint8, offset uint16, patch bool) {
		d := faultdisk.New(1)
		if patch { // within a good store
			d = s.disk.Clone()
			name := names[int(which)%len(names)]
			whole := d.Get(name)
			copy(whole[int(offset)%len(whole):], a)
			if which >= 128 {
				seal(whole)
			}
			d.Put(name, whole)
			copy(whole, b)
			d.Put("0000000000000063.seg", whole)
		} else {
			d.Put("0000000000000002.seg", a)
			d.Put("0000000000000003.seg", b)
			d.Put("000000007fffffff.seg", a)
		}
		if _, err := journal.Verify(d, func(journal.Finding) {}); err != nil {
			t.Fatal(err)
		}
		l, _, got, err := tryOpen(small(d))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			if _, data, err := l.Read(e.pos, nil); err != nil || string(data) != e.data {
				t.Fatalf("replayed and not read: %v", err)
			}
		}
		more := fill(l, 0, 20, 300)
		if err := commit(l, journal.Sync); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l, _, again, err := tryOpen(small(d))
		if err != nil {
			t.Fatal(err)
		}
		if s := same(again, append(got, more...)); s != "" {
			t.Fatal(s)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
