package brokertest

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// fingerprint covers every byte of a plant.
func fingerprint(p *Plant) string {
	h := sha256.New()
	for _, d := range p.devices {
		fmt.Fprintln(h, d.id, d.kind, d.version, d.kept, d.commands, d.will)
	}
	for _, s := range p.steps {
		fmt.Fprintln(h, s.At, s.Device, s.Do, s.Message)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestPlantIsDeterministic(t *testing.T) {
	o := PlantOptions{Seed: 1, Devices: 60, Day: 6 * time.Hour}
	a, b := NewPlant(o), NewPlant(o)
	if fingerprint(a) != fingerprint(b) {
		t.Error("the same seed made two different plants")
	}
	if !reflect.DeepEqual(a.Expect(), b.Expect()) || !reflect.DeepEqual(a.Expect(), a.Expect()) {
		t.Error("the same plant has two different tallies")
	}
	o.Seed = 2
	if fingerprint(NewPlant(o)) == fingerprint(a) {
		t.Error("another seed made the same plant")
	}
}

// TestPlantSchedule checks that every device lives a possible life: it acts
// only while connected, in order of time, within the day, on its own topics.
func TestPlantSchedule(t *testing.T) {
	o := PlantOptions{Seed: 3}
	p := NewPlant(o)
	online := make([]bool, len(p.devices))
	qosOf := map[string]byte{}
	ownerOf := map[string]int{}
	last := time.Duration(0)
	did := map[Action]int{}
	for i, s := range p.Steps() {
		if s.At < last || s.At < 0 || s.At > 24*time.Hour {
			t.Fatalf("step %d: time %v after %v", i, s.At, last)
		}
		last = s.At
		did[s.Do]++
		if s.Do == Publish {
			m := s.Message
			if err := wire.ValidTopicString(m.Topic); err != nil || len(m.Payload) == 0 {
				t.Fatalf("step %d: topic %q (%v), %d bytes", i, m.Topic, err, len(m.Payload))
			}
			if q, known := qosOf[m.Topic]; known && q != m.QoS {
				t.Fatalf("step %d: %s changes its QoS; order would be undefined", i, m.Topic)
			}
			if d, known := ownerOf[m.Topic]; known && d != s.Device {
				t.Fatalf("step %d: %s has two publishers; order would be undefined", i, m.Topic)
			}
			qosOf[m.Topic], ownerOf[m.Topic] = m.QoS, s.Device
		}
		if s.Device == controller {
			if s.At%p.slot != 0 || s.At == 0 {
				t.Fatalf("step %d: command at %v, not at the start of a slot", i, s.At)
			}
			continue
		}
		if want := s.Do != Connect; online[s.Device] != want {
			t.Fatalf("step %d: %s does %d while online is %v", i, p.devices[s.Device].id, s.Do, online[s.Device])
		}
		online[s.Device] = s.Do != Leave && s.Do != Drop
	}
	for i, on := range online {
		if on {
			t.Errorf("%s stays connected over night", p.devices[i].id)
		}
	}
	for _, a := range []Action{Connect, Publish, Leave, Drop, TakeOver} {
		if did[a] < 10 {
			t.Errorf("action %d happens %d times in a day; not worth testing", a, did[a])
		}
	}
	for _, d := range p.devices {
		if d.version == wire.V31 && len(d.id) > 23 {
			t.Errorf("client id %s is too long for MQTT 3.1", d.id)
		}
	}
}

func TestPlantExpect(t *testing.T) {
	p := NewPlant(PlantOptions{Seed: 4})
	e := p.Expect()
	ended := uint64(0)
	for _, n := range e.Disconnects {
		ended += n
	}
	if ended != e.Connects {
		t.Errorf("%d connects and %d disconnects", e.Connects, ended)
	}
	historian := e.Clients[p.name("historian")].Received
	if all := e.Published.Messages() + e.Wills.Messages(); historian.Messages() != all {
		t.Errorf("the historian sees %d of %d messages", historian.Messages(), all)
	}
	if historian.Bytes != e.Published.Bytes+e.Wills.Bytes {
		t.Errorf("the historian sees %d of %d bytes", historian.Bytes, e.Published.Bytes+e.Wills.Bytes)
	}
	var clients ClientTally
	for _, c := range e.Clients {
		clients.Connects += c.Connects
		for q := range 3 {
			clients.Published.QoS[q] += c.Published.QoS[q]
			clients.Received.QoS[q] += c.Received.QoS[q]
		}
	}
	if clients.Connects != e.Connects || clients.Published.QoS != e.Published.QoS || clients.Received.QoS != e.Delivered.QoS {
		t.Errorf("clients sum up to %+v, the total is %+v", clients, e)
	}
	for q, n := range e.Published.QoS {
		if n < 100 {
			t.Errorf("only %d messages of QoS %d", n, q)
		}
	}
	if e.Retained < 50 || e.Sessions < 50 || e.Wills.Messages() < 50 {
		t.Errorf("%d retained, %d sessions, %d wills are too few to test anything", e.Retained, e.Sessions, e.Wills.Messages())
	}
}
