package demo

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// plant is all clients, and what drives the devices.
type plant struct {
	ledger  *ledger
	devices []*device

	panel, display, historian, office *reader
	running                           sync.WaitGroup
}

// device measures something again and again, and publishes that.
type device struct {
	*client
	topic    string
	qos      byte
	every    time.Duration
	padding  int // bytes of payload beside the measurement
	measures string
	at       float64       // about what it measures
	order    atomic.Int64  // per cent, as the head office has it; pumps only
	ordered  chan struct{} // gets something when there is an order

	working sync.Mutex // guards what follows, and is held while it measures and publishes
	off     bool       // it measures nothing for now
	n       uint64     // measurements published
}

// reader is a client with receipts.
type reader struct {
	*client
	receipts *receipts
	states   sync.Map // topic to what it said last; of topics that end with /state
}

const (
	frameSize = 16 << 10
	wordOn    = "running"
	wordOff   = "offline"
)

// newPlant makes the clients. Times are already as the speed makes them.
func newPlant(g *gateway, far func() string, pace func(time.Duration) time.Duration) *plant {
	p := &plant{ledger: &ledger{}}
	near := func() string {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.listen
	}
	retry := pace(300 * time.Millisecond)
	client := func(id string, v wire.Version, kept bool) *client {
		return &client{id: id, user: id, password: g.secrets.device, version: v, kept: kept, address: near, retry: retry}
	}
	device := func(kind, id string, v wire.Version, kept bool, d *device) {
		d.client = client(id, v, kept)
		d.topic = fmt.Sprintf("plant/%ss/%s/%s", kind, id, d.measures)
		d.every = pace(d.every)
		p.devices = append(p.devices, d)
	}
	for i := range 3 {
		device("pump", fmt.Sprint("pump-", i+1), wire.V311, true, newPump(i))
	}
	for i := range 2 {
		device("tank", fmt.Sprint("tank-", i+1), wire.V5, false, newTank(i))
	}
	for i := range 2 {
		device("meter", fmt.Sprint("meter-", i+1), wire.V5, true, newMeter(i))
	}
	device("camera", "camera-1", wire.V5, false, newCamera())
	for _, d := range p.devices {
		d.equip(pace)
	}
	p.panel = newReader(client("panel", wire.V311, false), "", wire.Filter{Filter: "plant/tanks/#"}, wire.Filter{Filter: "plant/pumps/+/state", QoS: 1})
	p.display = newReader(client("display-1", wire.V311, false), "", wire.Filter{Filter: "video/#"})
	p.historian = newReader(client("historian", wire.V5, true), "", wire.Filter{Filter: "plant/pumps/+/flow", QoS: 2}, wire.Filter{Filter: "plant/meters/#", QoS: 2})
	p.office = newReader(client("head-office", wire.V5, true), siteName+"/",
		wire.Filter{Filter: siteName + "/plant/pumps/#", QoS: 2}, wire.Filter{Filter: siteName + "/plant/meters/#", QoS: 2})
	p.office.address, p.office.user, p.office.password = far, "", ""
	return p
}

func newPump(i int) *device {
	return &device{qos: 1, every: 500 * time.Millisecond, measures: "flow", at: 40 + 3*float64(i)}
}

func newTank(i int) *device {
	return &device{qos: 0, every: 200 * time.Millisecond, measures: "level", at: 61 - 8*float64(i)}
}

func newMeter(i int) *device {
	return &device{qos: 2, every: time.Second, measures: "energy", at: 1200 + 340*float64(i)}
}

func newCamera() *device {
	return &device{qos: 0, every: 100 * time.Millisecond, measures: "frame", padding: frameSize}
}

// equip gives a device what its kind has besides.
func (d *device) equip(pace func(time.Duration) time.Duration) {
	switch d.measures {
	case "frame":
		d.topic = "video/" + d.id + "/frame"
	case "flow":
		// Whoever has no power cannot say so: the broker says it, when a pump has
		// been silent for one and a half times this.
		d.keepAlive = max(pace(4*time.Second).Truncate(time.Second), time.Second)
		state := "plant/pumps/" + d.id + "/state"
		d.will = &wire.Will{QoS: 1, Retain: true, Topic: state, Payload: []byte(wordOff)}
		d.connected = func() []outgoing { return []outgoing{{topic: state, payload: []byte(wordOn), qos: 1, retain: true}} }
		d.filters = []wire.Filter{{Filter: "set/" + d.id + "/#", QoS: 1}}
		d.order.Store(100)
		d.ordered = make(chan struct{}, 1)
		d.arrived = func(m *wire.Delivery) {
			var percent int64
			if _, err := fmt.Sscan(string(m.Payload), &percent); err == nil && percent >= 0 && percent <= 100 {
				d.order.Store(percent)
				select {
				case d.ordered <- struct{}{}:
				default:
				}
			}
		}
	}
}

func newReader(c *client, prefix string, filters ...wire.Filter) *reader {
	r := &reader{client: c, receipts: &receipts{prefix: prefix}}
	c.filters = filters
	c.arrived = func(m *wire.Delivery) {
		topic := string(m.Topic)
		if strings.HasSuffix(topic, "/state") {
			r.states.Store(strings.TrimPrefix(topic, prefix), string(m.Payload))
			return
		}
		r.receipts.take(topic, m.Payload)
	}
	return r
}

// state is what a reader was told last about a pump.
func (r *reader) state(pump string) string {
	v, _ := r.states.Load("plant/pumps/" + pump + "/state")
	s, _ := v.(string)
	return s
}

// run measures until ctx ends.
func (d *device) run(ctx context.Context, l *ledger) {
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.work(l)
	}
}

func (d *device) work(l *ledger) {
	d.working.Lock()
	defer d.working.Unlock()
	if d.off {
		return
	}
	m := outgoing{topic: d.topic, qos: d.qos, payload: d.measurement(d.n + 1)}
	if d.publish(m) {
		d.n++
		l.published(d.topic, d.n, d.qos)
	}
}

// rest has the device measure nothing, or go on. When it returns all that was
// measured before has been published.
func (d *device) rest(off bool) {
	d.working.Lock()
	defer d.working.Unlock()
	d.off = off
}

// measurement is the nth.
func (d *device) measurement(n uint64) []byte {
	now := time.Now().UnixMicro()
	switch d.measures {
	case "energy":
		return fmt.Appendf(nil, `{"n":%d,"kwh":%.2f,"ts":%d}`, n, d.at+0.07*float64(n), now)
	case "frame":
		out := fmt.Appendf(make([]byte, 0, frameSize+100), `{"n":%d,"ts":%d,"pixels":"`, n, now)
		out = append(out, strings.Repeat("a picture would stand here; ", d.padding/28)...)
		return append(out, `"}`...)
	}
	value := d.at + 2*math.Sin(float64(n)/9)
	if d.measures == "flow" {
		value *= float64(d.order.Load()) / 100
	}
	return fmt.Appendf(nil, `{"n":%d,"%s":%.1f,"ts":%d}`, n, d.measures, value, now)
}

func (p *plant) device(id string) *device {
	return p.devices[slices.IndexFunc(p.devices, func(d *device) bool { return d.id == id })]
}

// readers are those who read.
func (p *plant) readers() []*reader { return []*reader{p.panel, p.display, p.historian, p.office} }

// clients are all, in the order of the books.
func (p *plant) clients() (list []*client) {
	for _, d := range p.devices {
		list = append(list, d.client)
	}
	for _, r := range p.readers() {
		list = append(list, r.client)
	}
	return list
}

// work lets all devices measure until ctx ends.
func (p *plant) work(ctx context.Context) {
	for _, d := range p.devices {
		p.running.Go(func() { d.run(ctx, p.ledger) })
	}
}

// live are the devices that publish at QoS 0, of which nothing is kept.
func (p *plant) live() (list []*device) {
	for _, d := range p.devices {
		if d.qos == 0 {
			list = append(list, d)
		}
	}
	return list
}

// leave has all of these leave, at the same time.
func leave(ctx context.Context, list []*client) {
	var all sync.WaitGroup
	for _, c := range list {
		all.Go(func() { _ = c.leave(ctx) }) // its error is that of ctx
	}
	all.Wait()
}
