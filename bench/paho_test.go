package bench_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bench"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestPaho(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	for name, o := range map[string]bench.Options{
		"pairs":       {},
		"fan-in":      {Scenario: bench.FanIn, Topics: 3, Wildcard: 1},
		"fan-out":     {Scenario: bench.FanOut, UserProperties: 3},
		"open loop":   {Rate: 1000},
		"retained":    {Retain: true, Topics: 2},
		"mixed":       {Scenario: bench.Mixed, Rate: 500, Clients: 5},
		"wide window": {Window: 200},
	} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("%s/qos %d", name, qos), func(t *testing.T) {
				o.Address, o.Client, o.QoS, o.Count = addr, bench.Paho, qos, 60
				if o.Clients == 0 {
					o.Clients = 2
				}
				res, err := bench.Run(t.Context(), o)
				if err != nil || !res.Clean() || res.Published != uint64(res.Publishers)*60 || res.Client != bench.Paho || res.Version != "5" {
					t.Fatalf("got %+v, %v", res, err)
				}
				if res.Latency.Samples != res.Delivered || res.Delivered < res.Published {
					t.Errorf("%d latencies of %d deliveries of %d messages", res.Latency.Samples, res.Delivered, res.Published)
				}
			})
		}
	}
	t.Run("by duration", func(t *testing.T) {
		res, err := bench.Run(t.Context(), bench.Options{Address: addr, Client: bench.Paho, QoS: 1, Duration: 100 * time.Millisecond})
		if err != nil || !res.Clean() || res.Published == 0 || res.Latency.Samples != res.Published {
			t.Errorf("got %+v, %v", res, err)
		}
	})
}

func TestPahoSeesFaults(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	o := bench.Options{Client: bench.Paho, Clients: 1, Count: 100, StallAfter: 300 * time.Millisecond}
	for name, tt := range map[string]struct {
		fault                      fault
		lost, reordered, duplicate uint64
	}{
		"lost":     {fault{drop: true}, 1, 0, 0},
		"repeated": {fault{repeat: true}, 0, 0, 1},
		"swapped":  {fault{swap: true}, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o.Address = newProxy(t, addr, func(n int) fault {
				if n == 50 {
					return tt.fault
				}
				return fault{}
			})
			res, err := bench.Run(t.Context(), o)
			if err != nil || res.Lost != tt.lost || res.Reordered != tt.reordered || res.Duplicates != tt.duplicate {
				t.Errorf("lost %d, reordered %d, repeated %d, %v", res.Lost, res.Reordered, res.Duplicates, err)
			}
		})
	}
	t.Run("stalled", func(t *testing.T) {
		o.Address = newProxy(t, addr, func(n int) fault { return fault{drop: n >= 50} })
		if res, err := bench.Run(t.Context(), o); !errors.Is(err, bench.ErrStalled) || res.Lost != 50 {
			t.Errorf("got %+v, %v", res, err)
		}
	})
	t.Run("hung up", func(t *testing.T) {
		o.Address = newProxy(t, addr, func(n int) fault { return fault{hangUp: n == 50} })
		if _, err := bench.Run(t.Context(), o); err == nil || errors.Is(err, bench.ErrStalled) || !strings.Contains(err.Error(), "bench-sub-0") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not let in", func(t *testing.T) {
		o.Address = fakeBroker(t, func(_ int, f wire.Frame) ([]byte, bool) {
			return wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.Banned}), true
		})
		if _, err := bench.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), wire.Banned.String()) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		_, o.Address = startBrokerWith(t, func(c *appliance.Config) {
			c.Access.Rules = []string{rules(t, "deny any subscribe bench/#\nallow any all #\n")}
		})
		if _, err := bench.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "subscribe bench-sub-0") {
			t.Errorf("got %v", err)
		}
	})
}
