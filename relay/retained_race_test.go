package relay_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Who subscribes while a retained message is published gets it: retained, or
// live, or both, and whatever it gets last is the newest.
func TestSubscribeWhileRetainedIsPublished(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	b := newBroker(t, nil)
	pub := b.connect("pub")
	for i := range rounds {
		var wg sync.WaitGroup
		c := b.connect("c")
		wg.Go(func() { pub.publish(message{topic: "t", payload: fmt.Sprint(i), qos: byte(i % 2), retain: true}) })
		wg.Go(func() { c.sub(1, "t") })
		wg.Wait()
		if got := payloads(c.settle()); !strings.HasSuffix(" "+got, fmt.Sprint(" ", i)) {
			t.Fatalf("round %d: got %q", i, got)
		}
		c.disconnect()
	}
}
