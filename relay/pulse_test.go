package relay_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
)

// A pulse comes back, and nobody notices: neither in what is counted, listed and
// balanced, nor in events, nor in the store, nor by a subscription.
func TestPulseIsNotNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &store{}
		b := openBroker(t, nil, st)
		defer b.finish()
		c := b.connect("nosy", kept)
		c.sub(2, "#", "$pulse/#", "$pulse/beat", "+/beat")
		c.pub(1, "t=x")
		c.take()
		var seen []events.Type
		sub := b.bus.Subscribe("test", events.Filter{}, 1000, func(e events.Event) { seen = append(seen, e.Type) })
		defer sub.Close()
		synctest.Wait()
		before, recorded := b.Totals(), len(st.changes)
		account := b.Balance()
		for range 300 { // more than any window, and than the numbers of beats
			if err := b.Pulse(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if after := b.Totals(); !reflect.DeepEqual(after, before) {
			t.Errorf("totals were %+v and are %+v", before, after)
		}
		if after := b.Balance(); !reflect.DeepEqual(after, account) {
			t.Errorf("the balance was %+v and is %+v", account, after)
		}
		if n := len(st.changes); n != recorded {
			t.Errorf("recorded: %s", st.changes[recorded:])
		}
		if got := c.take(); len(got) > 0 || len(seen) > 0 {
			t.Errorf("a client got %s, a listener %s", lines(got), seen)
		}
		for _, s := range b.Sessions() {
			if s.ClientID != "nosy" {
				t.Errorf("there is a session %q", s.ClientID)
			}
		}
	})
}

// What clients publish to its topic does not meet it.
func TestPulseIsAlone(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxInflight = 2 })
	c := b.connect("c")
	for range 10 {
		c.pub(1, "$pulse/beat=x")
		if err := b.Pulse(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// While the store makes clients wait, there is none; and then there is again.
func TestPulseWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &store{}
		b := openBroker(t, nil, st)
		defer b.finish()
		st.mu.Lock()
		st.hold = true
		st.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		err := b.Pulse(ctx)
		if !errors.Is(err, relay.ErrNoPulse) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waits for the store") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("after %v", took)
		}
		st.release(nil)
		synctest.Wait()
		if err := b.Pulse(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A message path that hangs has no pulse, and one that hangs no more has.
func TestPulseOfWhatHangs(t *testing.T) {
	b := newBroker(t, nil)
	if err := b.Pulse(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := b.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Pulse(ctx); !errors.Is(err, relay.ErrNoPulse) || !strings.Contains(err.Error(), "is not given out") {
		t.Errorf("got %v", err)
	}
	release()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := b.Pulse(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
