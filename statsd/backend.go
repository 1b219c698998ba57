package statsd

import (
	"context"
	"io"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/trace"
)

// Backend is the broker as the control socket sees it. Methods are called from
// many goroutines at once and must not block for long.
type Backend interface {
	Answers
	// Snapshot returns the counters, rates and memory included: see
	// Sampler.Fill. The caller owns the result, maps included.
	Snapshot() Snapshot
	// Clients describes every session, in any order, without Filters. The
	// caller owns the slice.
	Clients() []Client
	// Client describes one session, with Filters.
	Client(id string) (Client, bool)
	// Kick disconnects a client and reports whether it was connected.
	Kick(id string) bool
	// Events calls fn for the events that f lets through, one at a time, until
	// close is called; close waits for a running fn. Up to queue events wait;
	// further ones are lost, which dropped counts.
	Events(f events.Filter, queue int, fn func(events.Event)) (close func(), dropped func() uint64)
	// Losses is all that has been lost since the start, in any order. The caller
	// owns it.
	Losses() []Loss
	// Bridges describes the uplinks, in the order of the configuration. The
	// caller owns the slice.
	Bridges() []Bridge
	// Fleet lists the gateways of the fleet that answer within wait, or have
	// answered earlier.
	Fleet(ctx context.Context, wait time.Duration) Fleet
	// PauseBridge disconnects an uplink, or lets it connect again. It fails with
	// ErrNoBridge if there is none of that name.
	PauseBridge(name string, pause bool) error
	// TestBridge connects as an uplink would, in its place if own is set, and
	// takes up to a minute. The error may be ErrNoBridge.
	TestBridge(ctx context.Context, name string, own bool) (BridgeTest, error)
	// DeadLetters lists what the far side of an uplink has not taken, and
	// EndDeadLetters sends all of it again, or discards it, and says how many.
	// The error may be ErrNoBridge.
	DeadLetters(name string) (DeadLetters, error)
	EndDeadLetters(name string, replay bool) (int, error)
	// History calls fn for recorded events, the oldest first, as q and f ask for,
	// until fn returns an error, which it returns, or ctx ends.
	History(ctx context.Context, q recorder.Query, f events.Filter, fn func(events.Event) error) error
	// Trace begins to trace packets. The caller ends it with end. It fails with
	// trace.ErrTooMany if there are too many traces.
	Trace(q trace.Query) (t *trace.Trace, end func(), err error)
	// Health says whether the broker works.
	Health() Health
	// Reload reads the configuration and the files that it names again and puts
	// them in force, or changes nothing and says why. If it is only tried, it
	// changes nothing in any case.
	Reload(ctx context.Context, try bool) (Reloaded, error)
	// Backup writes a copy of the store to w, as a tar archive, and may take
	// long. It fails with ErrNoStore before it has written if there is none.
	Backup(ctx context.Context, w io.Writer) error
}

// Health says whether the broker is alive, and whether it is ready to serve.
type Health struct {
	Live  bool `json:"live"`  // false: restarting is the only cure
	Ready bool `json:"ready"` // every listener is bound and recovery is done
	// Problems says what is wrong, one line each, fit for an operator's eyes.
	Problems []string `json:"problems,omitempty"`
}

// VersionInfo says which program answers on the control socket.
type VersionInfo struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	OS        string `json:"os"`
	Arch      string `json:"arch"`
}
