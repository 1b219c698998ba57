package appliance

import (
	"math"
	"testing"
)

// The largest bounds that a configuration may have are ones that processors of 32
// bits can count to.
func TestGateLimitsFit32Bits(t *testing.T) {
	c := DefaultConfig()
	c.Limits.MaxOutboundBytes, c.Limits.MaxPacketSize, c.Limits.MaxConnectSize = 1*GiB, maxFrame, 16*MiB
	c.Limits.MaxUnauthenticated = math.MaxInt32
	c.Sessions.MaxQueuedBytes = maxFrame
	c.Sessions.TotalQueuedBytes = maxFrame
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	limits := c.fit(0).gateLimits()
	for name, n := range map[string]int{
		"MaxOutbound": limits.MaxOutbound, "LowWater": limits.LowWater, "MaxPacketSize": limits.MaxPacketSize,
		"MaxConnectSize": limits.MaxConnectSize, "MaxUnauthenticatedBytes": limits.MaxUnauthenticatedBytes,
	} {
		if n <= 0 || n > math.MaxInt32 {
			t.Errorf("%s is %d", name, n)
		}
	}
}
