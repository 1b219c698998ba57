package main

import (
	"errors"
	"testing"
	"time"
)

// The fleet and its books must find what a broker does wrong, and nothing
// where it does nothing wrong.
func TestFleetFindsFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("runs clients for some seconds")
	}
	for _, tt := range []struct {
		fault fault
		want  promise
	}{
		{honest, promises},
		{loses, notLost},
		{repeats, once},
		{reorders, inOrder},
		{rollsBack, notRolledBack},
		{forgets, sessionKept},
		{openTwice, once},
		{neverSays, answered},
		{damages, intact},
		{reusesID, once},
		{downgrades, intact},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			b := startFake(t, tt.fault)
			f := newFleet(7, b.where)
			f.rate, f.maxBehind = 1000, 1000
			f.start(t.Context())
			broken := func() bool {
				f.books.mu.Lock()
				defer f.books.mu.Unlock()
				return tt.want < promises && f.books.broken[tt.want] > 0
			}
			// Long enough for connections to end and to begin again; what is found
			// at once need not be found twice. What never comes is found when all
			// have settled, so that a few seconds of it do.
			looks := 1200
			if tt.want == promises || tt.want == notLost || tt.want == answered {
				looks = 60
			}
			for i := 0; i < looks && !broken(); i++ {
				if err := pause(t.Context(), 50*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			patience := time.Second
			if tt.fault == honest {
				patience = time.Minute
			}
			if !broken() {
				if err := f.settle(t.Context(), patience); err != nil && !errors.Is(err, errUnsettled) {
					t.Fatal(err)
				}
				_ = f.look(t.Context(), 1<<20) // what it finds is in the books
			}
			f.stop()
			f.books.close()
			if tt.want == promises {
				judged(t, f.books)
			} else if !broken() {
				t.Errorf("not found; what was found: %v", f.books.found)
			}
		})
	}
}
