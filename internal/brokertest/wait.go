package brokertest

import (
	"testing"
	"time"
)

// Patience is how long helpers wait for what must happen. It is generous: a
// test that passes never uses it up, whatever else the machine does.
const Patience = 60 * time.Second

// WaitFor returns as soon as cond is true and fails the test, naming what, if
// that takes longer than Patience. It polls and is meant for what cannot tell
// by itself, such as the state behind a socket; in a synctest bubble use
// synctest.Wait.
func WaitFor(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(Patience)
	for pause := time.Millisecond; !cond(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %v in vain for %s", Patience, what)
		}
		time.Sleep(pause)
	}
}
