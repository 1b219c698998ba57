package bench

import (
	"fmt"

	"github.com/synthetism/edgebroker/wire"
)

// plan is who publishes what in a run, and who is to get it.
type plan struct {
	publishers  []pubPlan
	subscribers []subPlan
	churn       float64 // clients that come and go, per second
}

// pubPlan is one stream of messages. Message number n goes to topic n modulo topics.
type pubPlan struct {
	base   string // the topic, or what stands before the last level of several
	topics int
	qos    byte
	retain bool
	rate   float64 // per second, 0 in the closed loop
}

// subPlan is one subscriber.
type subPlan struct {
	kind    string // stands in the client id
	filters []wire.Filter
	hears   []hearing
}

// hearing is what a subscriber gets of one publisher: every message whose
// number is offset modulo stride, all of them at qos.
type hearing struct {
	publisher      uint32
	offset, stride uint64
	qos            byte
}

// newPlan spreads the clients of o over topics below prefix.
func newPlan(o *Options, prefix string) plan {
	var p plan
	switch o.Scenario {
	case Pairs:
		for i := range o.Clients {
			n := p.publish(o, fmt.Sprintf("%s/%d", prefix, i))
			p.subscribe("sub", p.hear(n), exact(o, prefix, i)...)
		}
	case FanIn, Pub:
		for i := range o.Clients {
			p.publish(o, fmt.Sprintf("%s/%d", prefix, i))
		}
		if o.Scenario == FanIn {
			p.subscribe("sub", p.hearAll(), everything(o, prefix))
		}
	case FanOut:
		p.publish(o, prefix+"/0")
		for range o.Clients {
			p.subscribe("sub", p.hearAll(), everything(o, prefix))
		}
	case Sub:
		for range o.Clients {
			p.subscribe("sub", nil, wire.Filter{Filter: o.Topic, QoS: o.QoS})
		}
	case Mixed:
		p.mix(o, prefix)
	}
	for range o.Wildcard {
		p.subscribe("wild", p.hearAll(), wire.Filter{Filter: prefix + "/#", QoS: o.QoS})
	}
	return p
}

// publish adds a publisher as o has them, and returns its index.
func (p *plan) publish(o *Options, base string) int {
	p.publishers = append(p.publishers, pubPlan{base: base, topics: o.Topics, qos: o.QoS, retain: o.Retain, rate: o.Rate})
	return len(p.publishers) - 1
}

func (p *plan) subscribe(kind string, hears []hearing, filters ...wire.Filter) {
	p.subscribers = append(p.subscribers, subPlan{kind: kind, filters: filters, hears: hears})
}

// hear is all of one publisher.
func (p *plan) hear(publisher int) []hearing {
	return []hearing{{publisher: uint32(publisher), stride: 1, qos: p.publishers[publisher].qos}}
}

// hearAll is all of all publishers that there are so far.
func (p *plan) hearAll() (all []hearing) {
	for i := range p.publishers {
		all = append(all, p.hear(i)...)
	}
	return all
}

// everything is one filter for all topics, with a + for each level that differs.
func everything(o *Options, prefix string) wire.Filter {
	f := wire.Filter{Filter: prefix + "/+", QoS: o.QoS}
	if o.Topics > 1 {
		f.Filter += "/+"
	}
	return f
}

// exact is a filter for each topic of publisher i.
func exact(o *Options, prefix string, i int) []wire.Filter {
	base := fmt.Sprintf("%s/%d", prefix, i)
	all := make([]wire.Filter, o.Topics)
	for k := range all {
		all[k] = wire.Filter{Filter: topicOf(base, o.Topics, k), QoS: o.QoS}
	}
	return all
}

// mix is a site: of ten clients six send telemetry at QoS 0, two send their
// states, retained at QoS 1, at a tenth of the rate, and two take commands at
// QoS 1, which one controller sends at a tenth of the rate to each. Dashboards,
// one and another for each 50 clients, see telemetry and states by wildcards.
// Each second one client in a hundred comes and goes.
func (p *plan) mix(o *Options, prefix string) {
	sensors := max(o.Clients*6/10, 1)
	states := max(o.Clients*2/10, 1)
	actors := o.Clients - sensors - states
	for i := range sensors {
		p.publishers = append(p.publishers, pubPlan{base: fmt.Sprintf("%s/telemetry/%d", prefix, i), topics: 1, rate: o.Rate})
	}
	for i := range states {
		p.publishers = append(p.publishers, pubPlan{base: fmt.Sprintf("%s/state/%d", prefix, i), topics: 1, qos: 1, retain: true, rate: o.Rate / 10})
	}
	for range 1 + o.Clients/50 {
		p.subscribe("dashboard", p.hearAll(),
			wire.Filter{Filter: prefix + "/telemetry/#", QoS: 1}, wire.Filter{Filter: prefix + "/state/#", QoS: 1})
	}
	controller := uint32(len(p.publishers))
	commands := prefix + "/command"
	p.publishers = append(p.publishers, pubPlan{base: commands, topics: actors, qos: 1, rate: o.Rate / 10 * float64(actors)})
	for k := range actors {
		p.subscribe("actor", []hearing{{publisher: controller, offset: uint64(k), stride: uint64(actors), qos: 1}},
			wire.Filter{Filter: topicOf(commands, actors, k), QoS: 1})
	}
	p.churn = max(float64(o.Clients)/100, 1)
}
