package relay

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"
)

// A message has a copy of its payload, whatever size that has, and takes little
// more memory than it is charged with.
func TestNewMessage(t *testing.T) {
	const many, spare = 64, 96 // bytes that the allocator may round up, more where pointers are short
	for n := range 300 {
		payload := bytes.Repeat([]byte{byte(n), 1}, n)[:n]
		var kept [many]*Message
		got, most := ^uint64(0), uint64(n)+uint64(unsafe.Sizeof(Message{}))+spare
		for range 3 { // others may allocate meanwhile
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for i := range kept {
				kept[i] = newMessage(payload)
			}
			runtime.ReadMemStats(&after)
			got = min(got, (after.TotalAlloc-before.TotalAlloc)/many)
		}
		if got > most {
			t.Errorf("a payload of %d bytes takes %d bytes with its message, more than %d", n, got, most)
		}
		m := kept[0]
		if !bytes.Equal(m.Payload, payload) || cap(m.Payload) > max(n, 320) {
			t.Fatalf("%d bytes became %d", n, len(m.Payload))
		}
		if n > 0 {
			if payload[0]++; m.Payload[0] == payload[0] {
				t.Fatalf("the payload of %d bytes is no copy", n)
			}
		}
		runtime.KeepAlive(kept)
	}
}
