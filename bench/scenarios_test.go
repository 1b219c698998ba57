package bench_test

import (
	"context"
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

// Whatever else a run has, every message arrives once and in order.
func TestRunVariants(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	for name, o := range map[string]bench.Options{
		"topics":           {Topics: 7},
		"topics, fan-in":   {Topics: 12, Scenario: bench.FanIn},
		"topics, fan-out":  {Topics: 3, Scenario: bench.FanOut},
		"many topics":      {Topics: 250, Count: 1000},
		"wildcard":         {Wildcard: 2},
		"wildcard, topics": {Wildcard: 2, Topics: 5, Scenario: bench.FanIn},
		"aliases":          {Aliases: true, Version: wire.V5},
		"aliases, topics":  {Aliases: true, Version: wire.V5, Topics: 11},
		"user properties":  {UserProperties: 5, Version: wire.V5},
		"everything":       {UserProperties: 2, Version: wire.V5, Aliases: true, Topics: 3, Wildcard: 1, Retain: true, Subscriptions: 1100, Topic: "site/a"},
		"one topic name":   {Topic: "x"},
		"large":            {Payload: 300000, Count: 20, Window: 2}, // at QoS 0 a broker may drop what does not fit
		"open loop":        {Rate: 2000, Topics: 3, Wildcard: 1},
	} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("%s/qos %d", name, qos), func(t *testing.T) {
				o.Address, o.Clients, o.QoS = addr, 2, qos
				if o.Count == 0 {
					o.Count = 100
				}
				if o.Window == 0 {
					o.Window = 20
				}
				res, err := bench.Run(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				publishers, each := uint64(2), uint64(1+o.Wildcard)
				if o.Scenario == bench.FanOut {
					publishers, each = 1, 2
				}
				if res.Published != publishers*o.Count || res.Delivered != publishers*o.Count*each || !res.Clean() {
					t.Errorf("got %+v", res)
				}
			})
		}
	}
}

// A run leaves nothing behind that is retained.
func TestRunClearsRetained(t *testing.T) {
	b, addr := startBrokerWith(t, nil)
	for _, o := range []bench.Options{{Retain: true, Topics: 5}, {Retain: true, Topics: 5, Count: 2}, {Scenario: bench.Mixed, Rate: 200, Clients: 10}, {Scenario: bench.Pub, Retain: true, QoS: 1}} {
		o.Address = addr
		if o.Count == 0 {
			o.Count = 20
		}
		if res, err := bench.Run(t.Context(), o); err != nil || !res.Clean() {
			t.Fatalf("%+v, %v", res, err)
		}
		brokertest.WaitFor(t, "all retained messages to be gone", func() bool { return b.Stats().Retained.Messages == 0 })
	}
}

func TestRunPub(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	for qos := range byte(3) {
		for _, rate := range []float64{0, 1000} {
			t.Run(fmt.Sprintf("qos %d, rate %v", qos, rate), func(t *testing.T) {
				res, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Pub, Clients: 2, QoS: qos, Rate: rate, Count: 200, Topics: 3})
				if err != nil || !res.Clean() || res.Published != 400 || res.Delivered != 400 || res.Subscribers != 0 {
					t.Fatalf("got %+v, %v", res, err)
				}
				// At QoS 0 nobody answers.
				if want := uint64(400); qos == 0 && res.Latency.Samples != 0 || qos > 0 && res.Latency.Samples != want {
					t.Errorf("%d latencies", res.Latency.Samples)
				}
			})
		}
	}
}

// A broker that no longer reads, or answers, has not taken what was sent to it.
func TestRunPubSeesFaults(t *testing.T) {
	brokertest.NoLeaks(t)
	o := bench.Options{Scenario: bench.Pub, Clients: 1, Count: 100, StallAfter: 200 * time.Millisecond, Window: 10}
	for name, silent := range map[string]wire.Type{"no PUBACK": wire.PUBLISH, "no PINGRESP": wire.PINGREQ} {
		t.Run(name, func(t *testing.T) {
			o.QoS = 0
			if silent == wire.PUBLISH {
				o.QoS = 1
			}
			seen := 0
			o.Address = fakeBroker(t, func(n int, f wire.Frame) ([]byte, bool) {
				if f.Type == silent {
					if seen++; silent == wire.PINGREQ || seen > 50 {
						return nil, false
					}
				}
				return accepting(n, f)
			})
			res, err := bench.Run(t.Context(), o)
			if !errors.Is(err, bench.ErrStalled) || o.QoS == 1 && (res.Lost == 0 || res.Lost != res.Published-50) {
				t.Errorf("got %+v, %v", res, err)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		_, addr := startBrokerWith(t, func(c *appliance.Config) {
			c.Access.Rules = []string{rules(t, "deny any publish bench/#\nallow any all #\n")}
		})
		_, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Pub, Clients: 1, QoS: 1, Version: wire.V5})
		if err == nil || !strings.Contains(err.Error(), "refused a publish") {
			t.Errorf("got %v", err)
		}
	})
}

// What others publish is counted, whatever it is.
func TestRunSub(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	c := brokertest.Dial(t, addr, brokertest.Clean(wire.V5, "other"))
	c.Publish("plant/kept", "there before", 1, true)
	for qos := range byte(3) {
		t.Run(fmt.Sprint("qos ", qos), func(t *testing.T) {
			stop := make(chan struct{})
			ended := make(chan error, 1)
			go func() {
				defer close(ended)
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := bench.Run(context.Background(), bench.Options{Address: addr, Scenario: bench.Pub, Topic: "plant", Clients: 1, QoS: qos, Count: 10}); err != nil {
						ended <- err
						return
					}
				}
			}()
			res, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Sub, Topic: "plant/#", Clients: 2, QoS: qos, Duration: 200 * time.Millisecond})
			close(stop)
			if pubErr := <-ended; pubErr != nil {
				t.Fatal(pubErr)
			}
			if err != nil || res.Delivered == 0 || res.Published != 0 || !res.Clean() {
				t.Errorf("got %+v, %v", res, err)
			}
		})
	}
	t.Run("not allowed", func(t *testing.T) {
		_, addr := startBrokerWith(t, func(c *appliance.Config) {
			c.Access.Rules = []string{rules(t, "deny any subscribe plant/#\nallow any all #\n")}
		})
		_, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Sub, Topic: "plant/#", Duration: time.Hour})
		if err == nil || !strings.Contains(err.Error(), "is it allowed to this user") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRunMixed(t *testing.T) {
	brokertest.NoLeaks(t)
	addr := startBroker(t)
	res, err := bench.Run(t.Context(), bench.Options{Address: addr, Scenario: bench.Mixed, Clients: 20, Rate: 500, Count: 40})
	if err != nil || !res.Clean() {
		t.Fatalf("got %+v, %v", res, err)
	}
	// 12 sensors, 4 states, 1 controller; 1 dashboard that sees all but commands, and 4 actors.
	if res.Publishers != 17 || res.Subscribers != 5 || res.Published != 17*40 || res.Delivered != 17*40 || res.Connects == nil {
		t.Errorf("got %+v", res)
	}
}
