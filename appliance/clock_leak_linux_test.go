package appliance

import (
	"context"
	"testing"

	"github.com/synthetism/edgebroker/internal/brokertest"
)

// Nobody is told of a clock that runs, and nothing is left when that ends.
func TestClockNotSet(t *testing.T) {
	brokertest.NoLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- onClockSet(ctx, func() { t.Error("somebody has set the clock, or this was told wrongly") })
	}()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
