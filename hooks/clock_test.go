package hooks_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// Whose credentials end leaves when they do by the clock as it is set meanwhile, and
// nobody else does.
func TestClockSet(t *testing.T) {
	r := newRig(t, false, nil, nil)
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }
	r.sessions.SetClock(clock)
	ends := map[string]time.Time{"hour": clock().Add(time.Hour), "day": clock().Add(24 * time.Hour), "ever": {}}
	r.access.SetRules(&hooks.Rules{Source: auth.SourceFunc(func(_ context.Context, a *auth.Attempt) (auth.Identity, error) {
		return auth.Identity{Name: a.ClientID, Source: "test", NotAfter: ends[a.ClientID]}, nil
	})})
	clients := map[string]*brokertest.Client{}
	for id := range ends {
		connect := brokertest.Clean(wire.V5, id)
		connect.HasUsername, connect.Username = true, id
		clients[id] = brokertest.Dial(t, r.addr, connect)
	}
	r.await(t, events.Connection, len(ends))
	r.sessions.ClockSet() // by nothing
	ahead.Store(int64(2 * time.Hour))
	r.sessions.ClockSet()
	if reason := clients["hour"].ExpectDisconnect(); reason != wire.NotAuthorized {
		t.Errorf("%v", reason)
	}
	for _, id := range []string{"day", "ever"} {
		clients[id].Ping()
	}
	ahead.Store(int64(-2 * time.Hour)) // so that there is more time left
	r.sessions.ClockSet()
	clients["day"].Ping()
	ahead.Store(int64(48 * time.Hour))
	r.sessions.ClockSet()
	clients["day"].ExpectDisconnect()
	clients["ever"].Ping()
}
