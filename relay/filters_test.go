package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

func TestTenThousandFilters(t *testing.T) {
	b := newBroker(t, nil)
	c, pub := b.connect("c"), b.connect("pub")
	var filters []string
	for i := range 10_000 {
		filters = append(filters, fmt.Sprintf("plant/%d/+/temperature", i))
	}
	c.sub(1, filters...)
	for i := range 100 {
		pub.pub(0, fmt.Sprintf("plant/%d/a/temperature=x", i*100))
	}
	if n := len(c.take()); n != 100 {
		t.Errorf("got %d of 100", n)
	}
	if n := b.Totals().Subs; n != 10_000 {
		t.Errorf("%d subscriptions", n)
	}
	c.unsub(filters...)
	if n := b.Totals().Subs; n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

// What the filters of one client may cost is limited, however they are made.
func TestFiltersHaveALimit(t *testing.T) {
	for name, tail := range map[string]string{"long": strings.Repeat("x", 10_000), "deep": strings.Repeat("/x", 100)} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, func(c *relay.Config) { c.MaxFilterBytes = 1 << 20 })
			c := b.connect("c")
			granted := 0
			for i := range 1000 {
				code := c.subscribe(relay.Subscription{Filter: fmt.Sprint(i, tail), QoS: 1})[0]
				switch {
				case code == 1 && granted == i:
					granted++
				case code != wire.QuotaExceeded:
					t.Fatalf("filter %d: %v after %d were granted", i, code, granted)
				}
			}
			if granted < 40 || granted > 60 {
				t.Errorf("granted %d of about 20 kB each; the limit is 1 MiB", granted)
			}
			again := relay.Subscription{Filter: fmt.Sprint(0, tail), QoS: 2}
			if code := c.subscribe(again)[0]; code != 2 {
				t.Errorf("taking the place of one: %v", code)
			}
			c.unsub(fmt.Sprint(0, tail), fmt.Sprint(0, tail))
			if code := c.subscribe(again)[0]; code != 2 {
				t.Errorf("after one was removed: %v", code)
			}
			if code := c.subscribe(relay.Subscription{Filter: fmt.Sprint("more", tail)})[0]; code != wire.QuotaExceeded {
				t.Errorf("one more: %v", code)
			}
		})
	}
}

// A session has so many subscriptions at most; another for the same filter is
// none more.
func TestMaxSubscriptions(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxSubscriptions = 2 })
	c, other := b.connect("c"), b.connect("other")
	c.sub(0, "a", "b", "a")
	if codes := c.subscribe(relay.Subscription{Filter: "c"}, relay.Subscription{Filter: "b", QoS: 1}); codes[0] != wire.QuotaExceeded || codes[1] != 1 {
		t.Errorf("got %v", codes)
	}
	c.unsub("a")
	c.sub(0, "c")
	other.sub(0, "c", "d")
}
