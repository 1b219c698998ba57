package relay_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// What a client has sent is not held any more when it has been dealt with: an idle
// connection keeps no buffer alive.
func TestInputIsLetGo(t *testing.T) {
	b := newBroker(t, nil)
	c := b.connect("c")
	var freed atomic.Bool
	func() {
		raw := wire.AppendPublish(make([]byte, 0, 1<<20), &wire.Out{Version: wire.V5, Topic: []byte("a/b"), Payload: make([]byte, 1<<19)}, 0)
		runtime.AddCleanup(&raw[0], func(f *atomic.Bool) { f.Store(true) }, &freed)
		f, _, err := wire.Scan(raw, 0)
		if err == nil {
			err = c.port.Receive(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.port.Flush()
	}()
	for i := 0; i < 100 && !freed.Load(); i++ {
		runtime.GC()
	}
	if !freed.Load() {
		t.Error("the input is still held")
	}
	runtime.KeepAlive(c)
}
