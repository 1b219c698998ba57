package bench

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

const (
	maxClients       = 200_000
	maxTopics        = 100_000 // of each publisher
	maxSubscriptions = 2_000_000
	maxShare         = 2.0
	maxRate          = 1e6
	maxKeepAlive     = math.MaxUint16 * time.Second
)

// complaints collects what is wrong with options.
type complaints struct{ errs []error }

func (c *complaints) unless(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

// Validate reports everything that is wrong with o, joined into one error.
func (o Options) Validate() error {
	o = o.withDefaults()
	var c complaints
	c.unless(o.Address != "", "address is empty; give host:port or unix:/path")
	c.unless(slices.Contains(Scenarios(), o.Scenario), "scenario %q is unknown; choose one of %s", o.Scenario, scenarioList())
	c.unless(o.Client == Raw || o.Client == Paho, "client %q is unknown; choose %s or %s", o.Client, Raw, Paho)
	c.unless(o.Clients >= 1 && o.Clients <= maxClients, "clients is %d; choose 1 to %d", o.Clients, maxClients)
	c.unless(o.Stalled >= 0 && o.Stalled <= 1000, "stalled is %d; choose 0 to 1000", o.Stalled)
	c.unless(o.QoS <= 2, "qos is %d; choose 0, 1 or 2", o.QoS)
	c.unless(o.Version == wire.V311 || o.Version == wire.V5, "version %v is not offered; choose 3.1.1 or 5", o.Version)
	c.unless(o.Payload >= MinPayload && o.Payload <= MaxPayload, "payload is %d bytes; choose %d to %d", o.Payload, MinPayload, MaxPayload)
	c.unless(o.Count <= math.MaxUint32, "count is %d; choose at most %d", o.Count, uint32(math.MaxUint32))
	c.unless(o.Window >= 1 && o.Window <= maxWindow, "window is %d messages; choose 1 to %d", o.Window, maxWindow)
	// Also refuses NaN.
	c.unless(o.Rate >= 0 && o.Rate <= maxRate, "rate is %v per second; choose 0 (closed loop) to 1000000", o.Rate)
	c.unless(o.Duration >= 0 && o.Warmup >= 0 && o.StallAfter >= 0 && o.Stay >= 0, "duration, warm-up, stay and stall limit cannot be negative")
	c.unless(o.KeepAlive >= 0 && o.KeepAlive <= maxKeepAlive && o.KeepAlive%time.Second == 0, "keep alive is %v; choose 0 to %v in whole seconds", o.KeepAlive, maxKeepAlive)
	c.unless(o.BrokerPID >= 0, "pid is %d; give the broker's process id or 0", o.BrokerPID)
	c.unless(o.RateShare >= 0 && o.RateShare <= maxShare, "rate is %v %% of saturation; choose 0 to %v %%", o.RateShare*100, maxShare*100)
	c.unless(o.RateShare == 0 || o.Scenario != Mixed && o.Scenario.publishes(), "scenario %s has no saturation to take a part of; give the rate as messages per second", o.Scenario)
	o.validateTopics(&c)
	o.validateScenario(&c)
	return errors.Join(c.errs...)
}

func (o Options) validateTopics(c *complaints) {
	c.unless(o.Topics >= 0 && o.Topics <= maxTopics, "topics is %d; choose 1 to %d", o.Topics, maxTopics)
	c.unless(o.Wildcard >= 0 && o.Wildcard <= 1000, "wildcard is %d subscribers; choose 0 to 1000", o.Wildcard)
	c.unless(o.Subscriptions >= 0 && o.Subscriptions <= maxSubscriptions, "subscriptions is %d; choose 0 to %d", o.Subscriptions, maxSubscriptions)
	c.unless(o.UserProperties >= 0 && o.UserProperties <= 100, "user properties is %d; choose 0 to 100", o.UserProperties)
	c.unless(o.Version == wire.V5 || o.UserProperties == 0, "user properties need version 5; give --version 5")
	c.unless(o.Version == wire.V5 || !o.Aliases, "topic aliases need version 5; give --version 5")
	c.unless(!o.Aliases || o.Topics <= math.MaxUint16, "%d topics have no aliases; choose at most %d topics", o.Topics, math.MaxUint16)
	if o.Scenario == Sub {
		err := wire.ValidFilter(o.Topic)
		c.unless(err == nil, "topic filter %q: %v", o.Topic, err)
		return
	}
	err := wire.ValidTopicString(o.Topic)
	c.unless(err == nil, "topic %q: %v", o.Topic, err)
	c.unless(len(o.Topic) <= 1000, "topic has %d bytes; choose at most 1000", len(o.Topic))
}

// validateScenario refuses what has no meaning in a scenario, so that nobody
// takes a figure for what it is not.
func (o Options) validateScenario(c *complaints) {
	s := o.Scenario
	c.unless(s.publishes() || !o.Aliases && !o.Retain && o.UserProperties == 0, "scenario %s publishes nothing; leave out aliases, retain and user properties", s)
	c.unless(s.verified() || o.Wildcard == 0 && o.Stalled == 0, "scenario %s delivers nothing to further subscribers; leave out wildcard and stalled", s)
	c.unless(s.verified() || s == Sub || !o.Kept, "scenario %s has no sessions to be kept; leave out kept", s)
	c.unless(s == Connect || o.Stay == 0, "only clients of scenario %s stay; leave out stay", Connect)
	c.unless(s != Connect || o.Stay == 0 || o.Count <= 1 && o.Duration == 0, "clients that stay connect once; leave out count and duration, or stay")
	c.unless(s != Sub && s != Idle || o.Count == 0, "scenario %s ends after a duration; leave out count", s)
	c.unless(s != Sub && s != Idle || o.Rate == 0, "scenario %s has no rate of its own; leave out rate", s)
	c.unless(s != Mixed || o.Clients >= 5, "clients is %d; scenario %s needs at least 5", o.Clients, Mixed)
	c.unless(s != Mixed || o.Topics == 1 && !o.Retain && !o.Aliases, "scenario %s has topics of its own; leave out topics, retain and aliases", Mixed)
	if o.Client != Paho {
		return
	}
	c.unless(s.verified(), "scenario %s has raw clients only; leave out client", s)
	c.unless(o.Version == wire.V5, "paho.golang speaks MQTT 5; give --version 5")
	c.unless(!o.Aliases && !o.Kept, "paho clients have no aliases and kept sessions here; leave out aliases and kept")
}

func scenarioList() string {
	var names []string
	for _, s := range Scenarios() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
