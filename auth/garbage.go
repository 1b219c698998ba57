package auth

import (
	"runtime"
	"runtime/metrics"
	"sync"
)

// garbage is memory that hashes have left behind. On a small heap it is more
// than the runtime counts on: without help it would let several times the memory
// of the hashes that run pile up.
type garbage struct {
	mu    sync.Mutex
	bytes int64
}

// Garbage is collected when it is more than minGarbage bytes and than a
// garbageShare-th of the live heap, so that collecting costs little beside hashing.
const (
	minGarbage   = 1 << 20
	garbageShare = 8
)

// add counts what a hash has left, and collects it if that is worth it.
func (g *garbage) add(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += bytes
	if g.bytes < minGarbage {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() == metrics.KindUint64 && uint64(g.bytes) < live[0].Value.Uint64()/garbageShare {
		return
	}
	runtime.GC()
	g.bytes = 0
}
