package bench

import "fmt"

// Scenario says who talks to whom.
type Scenario string

const (
	// FanIn is Clients publishers to one subscriber.
	FanIn Scenario = "fan-in"
	// Pairs is Clients publishers, each with a subscriber of its own.
	Pairs Scenario = "pairs"
	// FanOut is one publisher to Clients subscribers.
	FanOut Scenario = "fan-out"
	// Pub is Clients publishers to nobody. What counts is what the broker has
	// acknowledged.
	Pub Scenario = "pub"
	// Sub is Clients subscribers to Options.Topic, who count what others publish.
	Sub Scenario = "sub"
	// Mixed is what a site has: telemetry, states, commands, dashboards, and
	// clients that come and go.
	Mixed Scenario = "mixed"
	// Connect is Clients clients that connect, and publish nothing.
	Connect Scenario = "connect"
	// Idle is Clients clients that are connected, and do nothing but keep alive.
	Idle Scenario = "idle"
)

// Scenarios are all there are, in the order in which they are explained.
func Scenarios() []Scenario {
	return []Scenario{FanIn, Pairs, FanOut, Pub, Sub, Mixed, Connect, Idle}
}

// verified tells whether what is published is also received here, so that loss
// and order are known.
func (s Scenario) verified() bool {
	return s == FanIn || s == Pairs || s == FanOut || s == Mixed
}

// publishes tells whether the load publishes.
func (s Scenario) publishes() bool { return s.verified() || s == Pub }

// Client says what speaks MQTT at this end.
type Client string

const (
	// Raw clients write frames that are encoded once, many at a time, so that
	// the broker is the limit and not the load.
	Raw Client = "raw"
	// Paho clients are those of github.com/eclipse/paho.golang, as devices and
	// services have them: one write for each message.
	Paho Client = "paho"
)

// topicsOf gives the topics of one publisher: base itself, or n below it, whose
// last level are digits, as many in each.
func topicsOf(base string, n int) (first string, digits int) {
	if n <= 1 {
		return base, 0
	}
	digits = len(fmt.Sprint(n - 1))
	return fmt.Sprintf("%s/%0*d", base, digits, 0), digits
}

// topicOf is the k-th of topicsOf.
func topicOf(base string, n, k int) string {
	if n <= 1 {
		return base
	}
	_, digits := topicsOf(base, n)
	return fmt.Sprintf("%s/%0*d", base, digits, k)
}
