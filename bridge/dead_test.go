package bridge

import (
	"testing"

	"github.com/synthetism/edgebroker/wire"
)

// What is sent again has the properties that it had, even if a device has given
// it one of the name that dead letters use.
func TestPropertiesOfTheDead(t *testing.T) {
	for _, key := range []string{"unit", deadWhy} {
		had := wire.AppendUserProperty(nil, wire.UserProperty{Key: key, Value: "C"})
		dead := had
		for _, u := range []wire.UserProperty{{Key: deadWhy, Value: "too large"}, {Key: deadTime, Value: "2026-01-01T00:00:00Z"}} {
			dead = wire.AppendUserProperty(dead, u)
		}
		if got := withoutDeath(dead); string(got) != string(had) {
			t.Errorf("got %q, want %q", got, had)
		}
	}
}
