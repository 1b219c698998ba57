package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
)

// Age alone loses nothing: what nobody has given an expiry interval waits for
// as long as its session, and a retained message until it is replaced.
func TestNothingExpiresByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBroker(t, func(c *relay.Config) { c.MaxSessionExpiry = 0 }, nil)
		defer b.Close()
		sub, pub := b.connect("s", expiry(0xFFFFFFFF)), b.connect("p")
		sub.sub(2, "plant/#")
		pub.pub(1, "plant/one=1")
		sub.take() // sent, and not acknowledged
		sub.end()
		pub.pub(2, "plant/two=2")
		pub.publish(message{topic: "state", payload: "on", retain: true})

		time.Sleep(40 * 24 * time.Hour)
		synctest.Wait()

		again := b.connect("s", expiry(0xFFFFFFFF))
		if got := again.settle(); payloads(got) != "1 2" {
			t.Errorf("after forty days the session got %q, want 1 2", payloads(got))
		}
		late := b.connect("late")
		late.sub(0, "state")
		if got := late.settle(); payloads(got) != "on" || got[0].hasExpiry {
			t.Errorf("after forty days the retained message is %v, want on without an expiry", got)
		}
		b.drops("no_subscribers 1") // the retained message, when it came
	})
}
