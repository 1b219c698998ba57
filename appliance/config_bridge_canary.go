package appliance

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/wire"
)

// BridgeCanary says how an uplink in silence shows that the far side still takes
// messages.
type BridgeCanary struct {
	Enabled  *bool         `yaml:"enabled"`  // nil: where it does no harm, see canary
	Interval time.Duration `yaml:"interval"` // of silence
	Topic    string        `yaml:"topic"`    // on the far side
}

const (
	bridgeCanary       = 5 * time.Minute
	bridgeCanaryPrefix = "$edgebroker/canary/"
)

// canary is c.Canary as package bridge takes it. AWS IoT Core hangs up on who
// publishes to a topic that its policy does not name, so that none goes there
// unless a topic is set.
func (c BridgeConfig) canary() bridge.Canary {
	on := c.Canary.Topic != "" || !strings.HasSuffix(c.host(), ".amazonaws.com")
	if c.Canary.Enabled != nil {
		on = *c.Canary.Enabled
	}
	if !on {
		return bridge.Canary{}
	}
	topic := bridgeCanaryPrefix + strings.NewReplacer("+", "_", "#", "_").Replace(c.ClientName())
	return bridge.Canary{Every: cmp.Or(c.Canary.Interval, bridgeCanary), Topic: cmp.Or(c.Canary.Topic, topic)}
}

// host is the name of the far side.
func (c BridgeConfig) host() string {
	u, err := url.Parse(c.Address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

func (c BridgeConfig) canaryFindings(item string) []finding {
	var out []finding
	if c.Canary.Interval != 0 {
		out = within[time.Duration]{item + ".canary.interval", c.Canary.Interval, 10 * time.Second, 24 * time.Hour, false}.findings()
	}
	switch topic := c.Canary.Topic; {
	case topic == "":
	case c.nats():
		out = append(out, finding{path: item + ".canary.topic", what: "a canary to NATS is a question, and has no topic", mend: "remove it"})
	case wire.ValidTopicString(topic) != nil:
		out = append(out, finding{path: item + ".canary.topic", what: quoteShort(topic) + " is not a topic", mend: "write one without wildcards, such as gateway-17/canary"})
	}
	return out
}
