package brokertest

import "github.com/synthetism/edgebroker/wire"

// monitorPlan is a client that listens all day.
type monitorPlan struct {
	id      string
	version wire.Version
	qos     byte
	filters []string // below the root, not overlapping
	paho    bool     // runs on eclipse/paho.golang instead of raw frames
}

// monitors are the plant's listeners. The first sees everything.
var monitors = [...]monitorPlan{
	{id: "historian", version: wire.V5, qos: 2, filters: []string{"#"}},
	{id: "dashboard", version: wire.V311, qos: 0, filters: []string{"+/+/temperature", "+/+/block"}},
	{id: "alarms", version: wire.V5, qos: 1, filters: []string{"+/+/status", "+/+/door"}, paho: true},
}

// Client ids of the plant that are no devices, after "ROOT-".
const (
	controllerName = "controller"
	auditorName    = "auditor"
)

const auditorQoS = 1

func (m *monitorPlan) matches(root, topic string) bool {
	for _, f := range m.filters {
		if wire.MatchTopic(root+"/"+f, topic) {
			return true
		}
	}
	return false
}

// name is a client id outside the devices.
func (p *Plant) name(id string) string { return p.root + "-" + id }

// expectation is the tally and what it rests on.
type expectation struct {
	tally    *Tally
	topics   map[string]topicLog // what was published, wills included
	retained map[string]Message
}

// Expect computes the tally of the whole day from the schedule alone, for a
// broker that has not met the plant's clients and topics before.
func (p *Plant) Expect() Tally { return *p.expect().tally }

func (p *Plant) expect() expectation {
	e := expectation{newTally(), map[string]topicLog{}, map[string]Message{}}
	t := e.tally
	for i := range monitors {
		t.connected(p.name(monitors[i].id))
	}
	t.connected(p.name(controllerName))
	sessions := map[int]bool{}
	for i := range p.steps {
		s := &p.steps[i]
		if s.Device == controller {
			t.published(p.name(controllerName), &s.Message)
			p.route(e, &s.Message)
			// Commands go to one device, whose session is kept.
			for j := range p.devices {
				if d := &p.devices[j]; d.commands == s.Message.Topic {
					t.received(d.id, 1, s.Message.Payload)
				}
			}
			continue
		}
		d := &p.devices[s.Device]
		switch s.Do {
		case Connect, TakeOver:
			t.connected(d.id)
			sessions[s.Device] = d.kept
			if s.Do == TakeOver {
				t.ended(ReasonTakenOver)
				p.will(e, d)
			}
		case Publish:
			t.published(d.id, &s.Message)
			p.route(e, &s.Message)
		case Leave:
			t.ended(ReasonNormal)
		case Drop:
			t.ended(ReasonClosed)
			p.will(e, d)
		}
	}
	for i, kept := range sessions {
		if kept {
			t.Sessions++
			if p.devices[i].commands != "" {
				t.Subscriptions++
			}
		}
	}
	// At the end of the day the auditor reads what is retained.
	t.connected(p.name(auditorName))
	for _, m := range e.retained {
		t.Retained++
		t.RetainedBytes += uint64(len(m.Payload))
		t.received(p.name(auditorName), min(m.QoS, auditorQoS), m.Payload)
	}
	for range len(monitors) + 2 {
		t.ended(ReasonNormal)
	}
	return e
}

func (p *Plant) will(e expectation, d *device) {
	if d.will != nil {
		e.tally.Wills.add(d.will.QoS, d.will.Payload)
		p.route(e, d.will)
	}
}

// route notes what one message does.
func (p *Plant) route(e expectation, m *Message) {
	e.topics[m.Topic] = e.topics[m.Topic].add(m.Payload)
	if m.Retain {
		e.retained[m.Topic] = *m
	}
	for _, i := range p.watched[m.Topic] {
		e.tally.received(p.name(monitors[i].id), min(m.QoS, monitors[i].qos), m.Payload)
	}
}
