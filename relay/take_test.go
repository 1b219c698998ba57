package relay_test

import (
	"errors"
	"testing"

	"github.com/synthetism/edgebroker/relay"
)

// Nobody but a part of the program gets a session with such an identifier,
// whoever it has proven to be, and whether the session is there or not.
func TestStandingPrefix(t *testing.T) {
	b := newBroker(t, nil)
	c := relay.Connect{ClientID: relay.StandingPrefix + "cloud", Version: 5, Owner: "$bridge", Expiry: 0xFFFFFFFF}
	program := c
	program.Standing = true
	for range 2 {
		if _, err := b.Open(c); !errors.Is(err, relay.ErrNotOwner) {
			t.Errorf("a client got it: %v", err)
		}
		if _, err := b.Open(program); err != nil {
			t.Errorf("the program did not get it: %v", err)
		}
	}
}
