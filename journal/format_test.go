package journal

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRecordBits: a record with any one bit flipped, at any other place, or in
// any other segment or store, is not a record.
func TestRecordBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e epoch
		copy(e[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
		number := rapid.Uint32Range(1, maxNumber-1).Draw(t, "number")
		offset := rapid.Int64Range(headerSize, maxSegment).Draw(t, "offset")
		typ := rapid.Byte().Draw(t, "type")
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		rec := append(make([]byte, recordHead), data...)
		sealRecord(rec, e.seed(number), offset, typ)
		valid := func(rec []byte, seed uint32, offset int64) bool {
			n, sum, ok := checkHead(rec, seed, offset)
			return ok && n+recordHead == len(rec) && checkRecord(rec, sum)
		}
		if !valid(rec, e.seed(number), offset) || rec[4] != typ || !bytes.Equal(rec[recordHead:], data) {
			t.Fatal("a record is not what was written")
		}
		for bit := range 8 * len(rec) {
			rec[bit/8] ^= 1 << (bit % 8)
			if valid(rec, e.seed(number), offset) {
				t.Fatalf("bit %d does not count", bit)
			}
			rec[bit/8] ^= 1 << (bit % 8)
		}
		if other := rapid.Int64Range(headerSize, maxSegment).Draw(t, "other offset"); other != offset && valid(rec, e.seed(number), other) {
			t.Fatal("the offset does not count")
		}
		if other := rapid.Uint32Range(1, maxNumber-1).Draw(t, "other number"); other != number && valid(rec, e.seed(other), offset) {
			t.Fatal("the segment does not count")
		}
		e[rapid.IntRange(0, 15).Draw(t, "byte")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		if valid(rec, e.seed(number), offset) {
			t.Fatal("the store does not count")
		}
	})
	if _, _, ok := checkHead(make([]byte, recordHead), 0, 0); ok {
		t.Error("zeros are a record")
	}
}

// TestHeaderBits: a header is read as it was written, and any flipped bit shows.
func TestHeaderBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := header{
			kind:   rapid.SampledFrom([]byte{kindSpare, kindBegun}).Draw(t, "kind"),
			flags:  rapid.Byte().Draw(t, "flags"),
			format: rapid.Uint16().Draw(t, "format"),
			number: rapid.Uint32Range(1, likely-1).Draw(t, "number"),
			root:   rapid.Uint32().Draw(t, "root"),
			prev:   Pos(rapid.Uint64().Draw(t, "prev")),
			size:   rapid.Int64().Draw(t, "size"),
			clock:  time.Duration(rapid.Int64().Draw(t, "clock")),
			saved:  rapid.Int64().Draw(t, "saved"),
		}
		copy(h.epoch[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "epoch"))
		b := h.block()
		if got, v, ok, err := parseHeader(b); !ok || err != nil || got != h || v != version {
			t.Fatalf("%+v is read as %+v (%v %v)", h, got, ok, err)
		}
		bit := rapid.IntRange(0, 8*headerSize-1).Draw(t, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, ok, err := parseHeader(b); ok || err != nil {
			t.Fatalf("bit %d does not count (%v)", bit, err)
		}

		// The first record repeats it, and proves itself.
		rec := make([]byte, beginSize)
		h.put(rec[recordHead:])
		putCount(rec[recordHead+headerUsed:], 4711, 42)
		sealRecord(rec, h.epoch.seed(h.number), headerSize, typeBegin)
		if got, ok := parseBegin(rec); !ok || got != h {
			t.Fatalf("%+v is read as %+v", h, got)
		}
		if m, ok := parseMark(typeBegin, rec[recordHead:]); !ok || m.stable != h.prev || m.bytes != 4711 || m.records != 42 || m.root != h.root || m.clock != h.clock {
			t.Fatalf("as a mark it is %+v", m)
		}
		bit = rapid.IntRange(0, 8*beginSize-1).Draw(t, "bit")
		rec[bit/8] ^= 1 << (bit % 8)
		if got, ok := parseBegin(rec); ok {
			t.Fatalf("bit %d does not count: %+v", bit, got)
		}
	})
}

func TestSegmentNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint32Range(1, maxNumber-1).Draw(t, "number")
		if got, ok := segmentNumber(segmentName(n)); !ok || got != n {
			t.Fatalf("%d is named %q, which is %d", n, segmentName(n), got)
		}
	})
	for _, name := range []string{
		"", ".seg", "1.seg", "0000000000000000.seg", "0000000080000000.seg", "ffffffffffffffff.seg",
		"000000000000000A.seg", "0000000000000001.seg.bad", "+000000000000001.seg", "0x00000000000001.seg", "00000000000000001.seg",
	} {
		if n, ok := segmentNumber(name); ok {
			t.Errorf("%q is taken for segment %d", name, n)
		}
	}
}

// readerAt is bytes that a disk cannot read from bad on.
type readerAt struct {
	data    []byte
	bad, to int64
}

func (r readerAt) ReadAt(b []byte, offset int64) (int, error) {
	if offset < r.to && offset+int64(len(b)) > r.bad {
		return 0, errEnough // any error will do
	}
	return bytes.NewReader(r.data).ReadAt(b, offset)
}

// TestWalker walks over records and rubbish of all lengths, with a bad block.
func TestWalker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const seed = 4711
		data := make([]byte, headerSize)
		var want []frame
		var holes [][2]int64
		for range rapid.IntRange(0, 30).Draw(t, "records") {
			if rapid.IntRange(0, 4).Draw(t, "rubbish") == 0 {
				from := int64(len(data))
				n := rapid.SampledFrom([]int{1, 7, 12, 600, 5000, 300000}).Draw(t, "length")
				fill := rapid.SampledFrom([]byte{0, 0x80, 'a'}).Draw(t, "of")
				data = append(data, bytes.Repeat([]byte{fill}, n)...)
				if len(holes) > 0 && holes[len(holes)-1][1] == from {
					holes[len(holes)-1][1] = int64(len(data))
				} else {
					holes = append(holes, [2]int64{from, int64(len(data))})
				}
			}
			n := rapid.SampledFrom([]int{0, 1, 100, 4000, 270000}).Draw(t, "size")
			rec := append(make([]byte, recordHead), bytes.Repeat([]byte{0x80}, n)...)
			offset := int64(len(data))
			sealRecord(rec, seed, offset, byte(len(want)))
			data = append(data, rec...)
			want = append(want, frame{offset, byte(len(want)), rec[recordHead:]})
		}
		r := readerAt{data: data}
		if len(want) > 0 && rapid.Bool().Draw(t, "bad") {
			f := want[rapid.IntRange(0, len(want)-1).Draw(t, "which")]
			r.bad, r.to = f.offset, f.offset+1
		}
		if r.to == 0 { // exactly what was written
			w := &walker{f: r, seed: seed, size: int64(len(data))}
			var got []frame
			var gaps [][2]int64
			err := w.walk(w.size, true, func(f frame) error {
				got = append(got, frame{f.offset, f.typ, bytes.Clone(f.data)})
				return nil
			}, func(from, to int64) { gaps = append(gaps, [2]int64{from, to}) })
			if err != nil || len(got) != len(want) || len(gaps) != len(holes) {
				t.Fatalf("%d of %d records, %d of %d holes, %v", len(got), len(want), len(gaps), len(holes), err)
			}
			for i := range got {
				if got[i].offset != want[i].offset || got[i].typ != want[i].typ || !bytes.Equal(got[i].data, want[i].data) {
					t.Fatalf("record %d differs", i)
				}
			}
			for i := range gaps {
				if gaps[i] != holes[i] {
					t.Fatalf("hole %d is %v, not %v", i, gaps[i], holes[i])
				}
			}
			return
		}
		w := &walker{f: r, seed: seed, size: int64(len(data))}
		seen := 0
		err := w.walk(w.size, true, func(f frame) error { seen++; return nil }, func(from, to int64) {})
		if err != nil || w.unreadable == 0 {
			t.Fatalf("over a bad block: %v, %d bytes unreadable", err, w.unreadable)
		}
		lost := 0 // what touches the bad sector, as read in halves
		for _, f := range want {
			if f.offset < r.bad/sectorSize*sectorSize+2*sectorSize && f.end() > r.bad-2*sectorSize {
				lost++
			}
		}
		if seen < len(want)-lost || seen >= len(want) {
			t.Fatalf("over a bad block %d of %d records are read, %d lie there", seen, len(want), lost)
		}
	})
}
