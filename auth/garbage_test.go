package auth

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// hungry is a hash that needs much memory and notes how large the heap is then.
type hungry struct {
	size int
	peak *atomic.Uint64
}

func (h hungry) matches([]byte) bool {
	block := make([]byte, h.size)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for p := h.peak.Load(); m.HeapInuse > p && !h.peak.CompareAndSwap(p, m.HeapInuse); p = h.peak.Load() {
	}
	runtime.KeepAlive(block)
	return true
}
func (h hungry) kind() string  { return "hungry" }
func (h hungry) memory() int64 { return int64(h.size) }
func (h hungry) dummy() hash   { return h }

// TestVerifierMemory: on a small heap, hashes one after the other need the
// memory of those that run at once, and as much again for what is left by those
// that end while it is being collected; not of several generations.
func TestVerifierMemory(t *testing.T) {
	const size, parallel = 8 << 20, 2
	v, err := NewVerifier(VerifierLimits{parallel, 100, size})
	if err != nil {
		t.Fatal(err)
	}
	live := make([]byte, 3*size) // makes the runtime in no hurry to collect
	live[0] = 1
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	h := hungry{size, new(atomic.Uint64)}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if _, err := v.verify(t.Context(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), h, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if used := int64(h.peak.Load()) - int64(before.HeapInuse); used > 2*parallel*size {
		t.Errorf("used %d MiB for %d hashes of %d MiB at once", used>>20, parallel, size>>20)
	}
	runtime.KeepAlive(live)
}
