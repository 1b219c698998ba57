package brokertest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// slots is the number of parts that a day is replayed in. All steps of one
// part are done before the next begins.
const slots = 24

// controller stands for the client that sends commands, in Step.Device.
const controller = -1

// PlantOptions says what plant to make. The same options make the same plant,
// to the byte.
type PlantOptions struct {
	Seed    uint64
	Devices int           // default 200
	Day     time.Duration // virtual time that the schedule covers; default 24 h
	Root    string        // first topic level and prefix of client ids; default "plant"
}

// Plant is a factory behind one gateway: thermometers, vibration sensors,
// energy meters, door contacts, piece counters and devices with a bad link,
// with the schedule of what each of them does in a day. It is not changed
// after NewPlant; several goroutines may use it.
type Plant struct {
	root    string
	devices []device
	steps   []Step // by time; commands first where times are equal
	slot    time.Duration
	watched map[string][]int // topic to indices in monitors
}

// device is one client of the plant.
type device struct {
	id       string
	kind     string
	version  wire.Version
	kept     bool // its session outlives its connections
	will     *Message
	commands string // topic that it subscribes to with QoS 1, or ""
}

// Message is what one publish carries.
type Message struct {
	Topic   string
	QoS     byte
	Retain  bool
	Payload []byte
}

// Action is what a device does in a Step.
type Action byte

const (
	Connect  Action = iota + 1 // and subscribe to commands, if the session is new
	Publish                    // Step.Message
	Leave                      // with DISCONNECT
	Drop                       // without: the will is published
	TakeOver                   // connects again while the old connection is open: the will is published
)

// Step is one thing that happens at a virtual time.
type Step struct {
	At      time.Duration // since the start of the day
	Device  int           // index, or -1 for the controller's commands
	Do      Action
	Message Message // of Publish
}

// NewPlant makes the schedule. Of every 20 devices 8 are thermometers, 3
// vibration sensors, 4 energy meters, 2 door contacts, 1 a piece counter and 2
// have a bad link.
func NewPlant(o PlantOptions) *Plant {
	o.Devices = cmp.Or(o.Devices, 200)
	o.Day = cmp.Or(o.Day, 24*time.Hour)
	o.Root = cmp.Or(o.Root, "plant")
	mix := []func(*life){
		thermometer, meter, vibration, thermometer, door, thermometer, meter, thermometer, badLink, vibration,
		thermometer, counter, meter, thermometer, door, thermometer, vibration, meter, badLink, thermometer,
	}
	p := &Plant{root: o.Root, slot: max(o.Day/slots, time.Second), watched: map[string][]int{}}
	for i := range o.Devices {
		l := &life{
			rng: rand.New(rand.NewPCG(o.Seed, uint64(i))), index: i, end: o.Day,
			area: fmt.Sprintf("%s/hall-%d", o.Root, i%6), root: o.Root,
		}
		mix[i%len(mix)](l)
		if l.online {
			// Everybody goes home: at the end no connection is open.
			l.now = o.Day
			l.do(Leave, Message{})
		}
		p.devices = append(p.devices, l.device)
		p.steps = append(p.steps, l.steps...)
	}
	p.steps = append(p.steps, commands(p, rand.New(rand.NewPCG(o.Seed, 1<<32)), o.Day)...)
	slices.SortStableFunc(p.steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device))
	})
	for _, s := range p.steps {
		p.watch(s.Message.Topic)
	}
	for _, d := range p.devices {
		if d.will != nil {
			p.watch(d.will.Topic)
		}
	}
	return p
}

// Steps is the schedule, by time. The caller does not change it.
func (p *Plant) Steps() []Step { return p.steps }

// watch notes who monitors a topic.
func (p *Plant) watch(topic string) {
	if _, done := p.watched[topic]; done || topic == "" {
		return
	}
	p.watched[topic] = nil
	for i, m := range monitors {
		if m.matches(p.root, topic) {
			p.watched[topic] = append(p.watched[topic], i)
		}
	}
}

// commands sends each device that listens a few commands a day, at the start
// of a slot, when it may be away. The first slot has none: sessions form then.
func commands(p *Plant, rng *rand.Rand, day time.Duration) []Step {
	var out []Step
	for i := range p.devices {
		d := &p.devices[i]
		if d.commands == "" {
			continue
		}
		for at, n := p.slot, 1; at < day; at += p.slot {
			if rng.IntN(4) > 0 {
				continue
			}
			body := fmt.Sprintf(`{"cmd":"report","interval":%d,"n":%d}`, 60*(1+rng.IntN(10)), n)
			n++
			out = append(out, Step{At: at, Device: controller, Do: Publish, Message: Message{d.commands, 1, false, []byte(body)}})
		}
	}
	return out
}
