package relay_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// paced runs f with a broker whose clients have a rate.
func paced(t *testing.T, rate relay.Rate, f func(b *broker)) {
	t.Helper()
	in(t, func(c *relay.Config) { c.Rate = rate }, f)
}

// Nothing is lost to a rate: what is over it comes later.
func TestRate(t *testing.T) {
	body := strings.Repeat("x", 94) // a packet of 100 bytes at QoS 0, MQTT 5
	for name, tt := range map[string]struct {
		rate relay.Rate
		want time.Duration // for 1000 messages
	}{
		"none":                              {relay.Rate{}, 0},
		"messages":                          {relay.Rate{Messages: 100}, 9 * time.Second},
		"bytes":                             {relay.Rate{Bytes: 5000}, 19 * time.Second},
		"both":                              {relay.Rate{Messages: 10, Bytes: 5000}, 99 * time.Second},
		"more than a second's bytes in one": {relay.Rate{Bytes: 50}, 1999 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			paced(t, tt.rate, func(b *broker) {
				sub, pub, other := b.connect("sub"), b.connect("pub"), b.connect("other")
				sub.sub(0, "t")
				began := time.Now()
				for range 1000 {
					pub.publish(message{topic: "t", payload: body})
				}
				if d := time.Since(began); d < tt.want-100*time.Millisecond || d > tt.want+time.Second {
					t.Errorf("took %v; want %v", d, tt.want)
				}
				if n := len(sub.take()); n != 1000 {
					t.Errorf("%d of 1000 came", n)
				}
				if n, want := b.Totals().Slowed, uint64(1); tt.want > 0 && n != want || tt.want == 0 && n > 0 {
					t.Errorf("slowed %d times", n)
				}
				before := time.Now()
				other.pub(0, "t=x") // has a rate of its own
				if d := time.Since(before); d > 3*time.Second {
					t.Errorf("another waited %v", d)
				}
			})
		})
	}
}

// While a client waits, what it has sent before is delivered and acknowledged,
// and its own acknowledgements are not counted.
func TestRateDeliversBeforeItWaits(t *testing.T) {
	paced(t, relay.Rate{Messages: 2}, func(b *broker) {
		sub, pub := b.connect("sub"), b.connect("pub")
		sub.sub(1, "t")
		done := make(chan struct{})
		go func() {
			defer close(done)
			pub.publish(message{topic: "t", payload: "1", qos: 1}, message{topic: "t", payload: "2", qos: 1}, message{topic: "t", payload: "3", qos: 1})
		}()
		synctest.Wait()
		got := sub.wants("PUBLISH q1 #2 t=1", "PUBLISH q1 #3 t=2")
		pub.wants("PUBACK #1", "PUBACK #2")
		began := time.Now()
		for range 20 {
			sub.acknowledges(got)
		}
		if time.Since(began) > 0 {
			t.Error("acknowledgements wait")
		}
		<-done
		pub.wants("PUBACK #3")
	})
}

// Who goes on at the limit for too long is told so, and cut off; who comes down
// from it has all the time again.
func TestRatePatience(t *testing.T) {
	paced(t, relay.Rate{Messages: 10, Patience: 30 * time.Second}, func(b *broker) {
		var told []events.RefusalData
		sub := b.bus.Subscribe("test", events.Filter{Types: []events.Type{events.Refusal}}, 100, func(e events.Event) { told = append(told, e.Data.(events.RefusalData)) })
		pub := b.connect("pub")
		for range 3 { // of 25 seconds each, with a rest in between
			for range 250 {
				pub.publish(message{topic: "t"})
			}
			pass(2 * time.Second)
		}
		began := time.Now()
		var err error
		for err == nil {
			err = pub.feed(pub.frame(message{topic: "t"}))
		}
		var we *wire.Error
		if d := time.Since(began); !errors.As(err, &we) || we.Reason != wire.MessageRateTooHigh || d < 30*time.Second || d > 33*time.Second {
			t.Errorf("after %v: %v", d, err)
		}
		if n := b.Totals().Slowed; n != 4 {
			t.Errorf("slowed %d times; want 4", n)
		}
		synctest.Wait()
		sub.Close()
		if len(told) != 4 || told[0] != (events.RefusalData{ClientID: "pub", What: "publish_rate", Reason: "slowed"}) {
			t.Errorf("events %v", told)
		}
	})
}

// A reader that waits goes when its connection does.
func TestRateEndsWithConnection(t *testing.T) {
	paced(t, relay.Rate{Bytes: 10}, func(b *broker) {
		pub := b.connect("pub")
		ended := make(chan time.Time, 1)
		go func() {
			_ = pub.feed(pub.frame(message{topic: "t", payload: strings.Repeat("x", 100_000)}), pub.frame(message{topic: "t"}))
			ended <- time.Now()
		}()
		pass(time.Second)
		began := time.Now()
		pub.link.close()
		if d := (<-ended).Sub(began); d > time.Second {
			t.Errorf("ended %v later", d)
		}
	})
}
