package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

const (
	version = 1

	magic      = "EDGEJRNL"
	headerSize = 512
	headerUsed = 72 // the part of the header that typeBegin repeats

	kindSpare byte = 1
	kindBegun byte = 2

	flagCheckpoint byte = 1 // a checkpoint begins here
	flagRecovering byte = 2 // void unless this or a later segment is the root

	recordHead = 12
	inUse      = 1 << 31 // always set in the length of a record, so that zeros are none

	typeMark  byte = 0xf0
	typeBegin byte = 0xf1
	firstOwn       = typeMark

	markSize  = recordHead + 32
	beginSize = recordHead + headerUsed + 8

	markClosed = 1

	suffix    = ".seg"
	badSuffix = ".bad"
	maxNumber = 1 << 31 // segments are numbered below
	likely    = 1 << 30 // and so far none was ever begun beyond this
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func segmentName(number uint32) string { return fmt.Sprintf("%016x%s", number, suffix) }

// segmentNumber is the number that a file name stands for.
func segmentNumber(name string) (uint32, bool) {
	hex, found := strings.CutSuffix(name, suffix)
	if !found || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	if err != nil || n == 0 || n >= maxNumber || segmentName(uint32(n)) != name {
		return 0, false
	}
	return uint32(n), true
}

type epoch [16]byte

// seed is what the CRC of each record of a segment begins with.
func (e epoch) seed(number uint32) uint32 {
	var b [20]byte
	copy(b[:], e[:])
	binary.LittleEndian.PutUint32(b[16:], number)
	return crc32.Checksum(b[:], castagnoli)
}

// header is what a segment says about itself.
type header struct {
	kind, flags  byte
	format       uint16 // of the owner's records
	epoch        epoch
	number, root uint32
	prev         Pos // end of the segment before; of a spare: the last segment begun
	size         int64
	clock        time.Duration
	saved        int64 // bytes of the last checkpoint
}

// put writes the used part of h to b.
func (h *header) put(b []byte) {
	clear(b[:headerUsed])
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	b[12], b[13] = h.kind, h.flags
	binary.LittleEndian.PutUint16(b[14:], h.format)
	copy(b[16:], h.epoch[:])
	binary.LittleEndian.PutUint32(b[32:], h.number)
	binary.LittleEndian.PutUint32(b[36:], h.root)
	binary.LittleEndian.PutUint64(b[40:], uint64(h.prev))
	binary.LittleEndian.PutUint64(b[48:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[56:], uint64(h.clock))
	binary.LittleEndian.PutUint64(b[64:], uint64(h.saved))
}

// block is the header as it stands at the beginning of a segment.
func (h *header) block() []byte {
	b := make([]byte, headerSize)
	h.put(b)
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
	return b
}

// get reads what put wrote. What it returns need not make sense.
func (h *header) get(b []byte) bool {
	if string(b[:8]) != magic || binary.LittleEndian.Uint32(b[8:]) != version {
		return false
	}
	h.kind, h.flags = b[12], b[13]
	h.format = binary.LittleEndian.Uint16(b[14:])
	copy(h.epoch[:], b[16:])
	h.number = binary.LittleEndian.Uint32(b[32:])
	h.root = binary.LittleEndian.Uint32(b[36:])
	h.prev = Pos(binary.LittleEndian.Uint64(b[40:]))
	h.size = int64(binary.LittleEndian.Uint64(b[48:]))
	h.clock = time.Duration(binary.LittleEndian.Uint64(b[56:]))
	h.saved = int64(binary.LittleEndian.Uint64(b[64:]))
	return h.number > 0 && h.number < likely && (h.kind == kindSpare || h.kind == kindBegun)
}

var errNewer = errors.New("newer format")

// parseHeader reads a header block. With errNewer comes the version found.
func parseHeader(b []byte) (h header, found uint32, ok bool, err error) {
	if len(b) < headerSize || string(b[:8]) != magic ||
		crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return h, 0, false, nil
	}
	if found = binary.LittleEndian.Uint32(b[8:]); found > version {
		return h, found, false, errNewer
	}
	return h, found, h.get(b), nil
}

// sealRecord completes the record in rec: its data is in place, what is before
// is filled in here.
func sealRecord(rec []byte, seed uint32, offset int64, typ byte) {
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)-recordHead)|inUse)
	rec[4] = typ
	sum := crc32.Update(seed^uint32(offset), castagnoli, rec[:5])
	rec[5], rec[6], rec[7] = byte(sum), byte(sum>>8), byte(sum>>16)
	sum = crc32.Update(sum, castagnoli, rec[recordHead:])
	binary.LittleEndian.PutUint32(rec[8:], sum)
}

// putCount writes what a record of typeBegin says beyond the header.
func putCount(b []byte, bytes, records uint32) {
	binary.LittleEndian.PutUint32(b, bytes)
	binary.LittleEndian.PutUint32(b[4:], records)
}

// checkHead reports whether a record begins at b, which lies at offset; its
// length is that of its data. The data is not looked at.
func checkHead(b []byte, seed uint32, offset int64) (length int, sum uint32, ok bool) {
	n := binary.LittleEndian.Uint32(b)
	if n&inUse == 0 {
		return 0, 0, false
	}
	sum = crc32.Update(seed^uint32(offset), castagnoli, b[:5])
	if byte(sum) != b[5] || byte(sum>>8) != b[6] || byte(sum>>16) != b[7] {
		return 0, 0, false
	}
	return int(n &^ inUse), sum, true
}

// checkRecord reports whether rec, whose head is good with the given sum, is
// whole.
func checkRecord(rec []byte, sum uint32) bool {
	return crc32.Update(sum, castagnoli, rec[recordHead:]) == binary.LittleEndian.Uint32(rec[8:])
}

// mark is what begins a batch.
type mark struct {
	stable  Pos // everything before was on stable storage
	clock   time.Duration
	root    uint32
	bytes   uint32 // of the records of the batch in this segment
	records uint32
	closed  bool
}

func (m *mark) put(data []byte) {
	binary.LittleEndian.PutUint64(data, uint64(m.stable))
	binary.LittleEndian.PutUint64(data[8:], uint64(m.clock))
	binary.LittleEndian.PutUint32(data[16:], m.root)
	binary.LittleEndian.PutUint32(data[20:], m.bytes)
	binary.LittleEndian.PutUint32(data[24:], m.records)
	flags := uint32(0)
	if m.closed {
		flags = markClosed
	}
	binary.LittleEndian.PutUint32(data[28:], flags)
}

// parseMark reads the data of a mark, or of a record of typeBegin.
func parseMark(typ byte, data []byte) (m mark, ok bool) {
	switch {
	case typ == typeMark && len(data) == markSize-recordHead:
		m.stable = Pos(binary.LittleEndian.Uint64(data))
		m.clock = time.Duration(binary.LittleEndian.Uint64(data[8:]))
		m.root = binary.LittleEndian.Uint32(data[16:])
		m.bytes = binary.LittleEndian.Uint32(data[20:])
		m.records = binary.LittleEndian.Uint32(data[24:])
		m.closed = binary.LittleEndian.Uint32(data[28:])&markClosed != 0
		return m, true
	case typ == typeBegin && len(data) == beginSize-recordHead:
		var h header
		if !h.get(data) {
			return m, false
		}
		m.stable, m.clock, m.root = h.prev, h.clock, h.root
		m.bytes = binary.LittleEndian.Uint32(data[headerUsed:])
		m.records = binary.LittleEndian.Uint32(data[headerUsed+4:])
		return m, true
	}
	return m, false
}

// parseBegin reads what the first record of a segment repeats of the header,
// from b, the bytes after the header. It needs to know neither epoch nor number.
func parseBegin(b []byte) (h header, ok bool) {
	if len(b) < beginSize || b[4] != typeBegin || !h.get(b[recordHead:]) {
		return h, false
	}
	n, sum, ok := checkHead(b, h.epoch.seed(h.number), headerSize)
	return h, ok && n == beginSize-recordHead && checkRecord(b[:beginSize], sum)
}
