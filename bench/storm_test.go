package bench_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestStorm(t *testing.T) {
	brokertest.NoLeaks(t)
	b, addr := startBrokerWith(t, nil)
	for name, o := range map[string]bench.Options{
		"once":          {Clients: 100},
		"three times":   {Clients: 30, Count: 3},
		"scheduled":     {Clients: 100, Rate: 2000},
		"stay":          {Clients: 100, Stay: time.Millisecond},
		"stay, rate":    {Clients: 100, Stay: time.Millisecond, Rate: 2000, Version: wire.V5},
		"one at a time": {Clients: 20, Window: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o.Address, o.Scenario, o.BrokerPID = addr, bench.Connect, os.Getpid()
			before := b.Stats().Connections.Total
			res, err := bench.Run(t.Context(), o)
			if err != nil || !res.Clean() {
				t.Fatalf("got %+v, %v", res, err)
			}
			want := uint64(o.Clients) * max(o.Count, 1)
			if c := res.Connects; c.Made != want || c.Failed != 0 || c.PerSecond <= 0 || c.BrokerCPUMicros <= 0 || c.Connack.Samples != want {
				t.Errorf("got %+v", c)
			}
			if res.Latency.Samples != want || res.Latency.P50 < res.Connects.Connack.P50*9/10 {
				t.Errorf("a whole connect takes %+v, its CONNACK %+v", res.Latency, res.Connects.Connack)
			}
			if got := b.Stats().Connections.Total - before; uint64(got) != want {
				t.Errorf("the broker has seen %d connections", got)
			}
			brokertest.WaitFor(t, "all to have left", func() bool { return b.Stats().Sessions.Connected == 0 })
		})
	}
	t.Run("for a duration", func(t *testing.T) {
		res, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Connect, Clients: 4, Duration: 100 * time.Millisecond})
		if err != nil || res.Connects.Made < 5 || !res.Clean() {
			t.Errorf("got %+v, %v", res.Connects, err)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := bench.Run(ctx, bench.Options{Address: addr, Scenario: bench.Connect, Clients: 10, Rate: 0.1, Duration: time.Hour})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Who could not connect is counted by the reason.
func TestStormReasons(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := fakeBroker(t, func(n int, f wire.Frame) ([]byte, bool) {
		switch {
		case f.Type == wire.CONNECT && n%4 == 1:
			return nil, true
		case f.Type == wire.CONNECT && n%4 == 2:
			return wire.AppendConnack(nil, wire.V311, &wire.Connack{Reason: wire.NotAuthorized}), false
		case f.Type == wire.CONNECT && n%4 == 3:
			return wire.AppendPing(nil, wire.PINGRESP), false
		}
		return accepting(n, f)
	})
	res, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Connect, Clients: 40})
	if err != nil || res.Clean() {
		t.Fatalf("got %+v, %v", res, err)
	}
	c := res.Connects
	var total uint64
	for reason, n := range c.Reasons {
		if n != 10 {
			t.Errorf("%q: %d", reason, n)
		}
		total += n
	}
	if c.Made != 10 || c.Failed != 30 || total != 30 || c.Reasons["closed before CONNACK"] != 10 || c.Reasons["refused: "+wire.NotAuthorized.String()] != 10 ||
		c.Reasons["broker sent PINGRESP instead of CONNACK"] != 10 {
		t.Errorf("got %+v", c)
	}
}

// Clients that the broker drops while they stay are no success.
func TestStormDroppedWhileStaying(t *testing.T) {
	addr := fakeBroker(t, func(n int, f wire.Frame) ([]byte, bool) {
		out, hangUp := accepting(n, f)
		return out, hangUp || n%2 == 0
	})
	res, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Connect, Clients: 10, Stay: 50 * time.Millisecond})
	if err != nil || res.Connects.Made != 5 || !maps.Equal(res.Connects.Reasons, map[string]uint64{"ended while staying": 5}) {
		t.Errorf("got %+v, %v", res.Connects, err)
	}
}

func TestStormFails(t *testing.T) {
	_, err := bench.Run(t.Context(), bench.Options{Address: "127.0.0.1:1", Scenario: bench.Connect, Clients: 3})
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestIdle(t *testing.T) {
	brokertest.NoLeaks(t)
	b, addr := startBrokerWith(t, nil)
	o := bench.Options{Address: addr, Scenario: bench.Idle, Clients: 50, KeepAlive: time.Second, Topics: 3, Duration: 400 * time.Millisecond, BrokerPID: os.Getpid()}
	res, err := bench.Run(t.Context(), o)
	if err != nil || !res.Clean() {
		t.Fatalf("got %+v, %v", res, err)
	}
	c := res.Idle
	if c.Clients != 50 || c.Pings == 0 || c.Pings > 50 || c.CPUMicros <= 0 || c.Switches <= 0 || c.RSSBefore == 0 {
		t.Errorf("got %+v", c)
	}
	brokertest.WaitFor(t, "all to have left", func() bool { return b.Stats().Sessions.Connected == 0 })
}

// Connections that end and pings without answers are not idle clients' lot.
func TestIdleSeesFaults(t *testing.T) {
	brokertest.NoLeaks(t)
	o := bench.Options{Scenario: bench.Idle, Clients: 10, KeepAlive: time.Second, Duration: 1100 * time.Millisecond, StallAfter: 100 * time.Millisecond}
	t.Run("unanswered", func(t *testing.T) {
		o.Address = fakeBroker(t, func(n int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.PINGREQ && n%2 == 0 {
				return nil, false
			}
			return accepting(n, f)
		})
		res, err := bench.Run(t.Context(), o)
		if err != nil || res.Clean() || res.Idle.Missed == 0 || res.Idle.Missed > 6 || res.Idle.Ended != 0 {
			t.Errorf("got %+v, %v", res.Idle, err)
		}
	})
	t.Run("ended", func(t *testing.T) {
		o.Address = fakeBroker(t, func(n int, f wire.Frame) ([]byte, bool) {
			out, hangUp := accepting(n, f)
			return out, hangUp || n == 3
		})
		res, err := bench.Run(t.Context(), o)
		if err != nil || res.Clean() || res.Idle.Ended != 1 {
			t.Errorf("got %+v, %v", res.Idle, err)
		}
	})
}
