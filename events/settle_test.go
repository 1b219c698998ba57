package events_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/events"
)

// Settle waits for what is queued, and for no more.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := events.NewBus(nil, matchPrefix)
		step := make(chan bool)
		handled := 0
		s := b.Subscribe("slow", events.Filter{}, 10, func(events.Event) { <-step; handled++ })
		if err := s.Settle(t.Context()); err != nil {
			t.Error(err)
		}
		for i := range 3 {
			b.Publish(numbered("c", i))
		}
		settled := make(chan int, 2)
		for range 2 {
			go func() {
				if err := s.Settle(t.Context()); err != nil {
					t.Error(err)
				}
				settled <- handled
			}()
		}
		synctest.Wait()
		b.Publish(numbered("c", 3))
		for range 2 {
			step <- true
			synctest.Wait()
			if len(settled) > 0 {
				t.Fatal("settled too early")
			}
		}
		step <- true
		for range 2 {
			if n := <-settled; n != 3 {
				t.Errorf("settled after %d events, want 3", n)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Settle(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(step)
		s.Close()
		if err := s.Settle(t.Context()); err != nil {
			t.Errorf("after the end: %v", err)
		}
		closeBus(t, b)
	})
}
