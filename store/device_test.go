package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// pipe is a relay.Link that keeps what was sent until the device reads it.
type pipe struct {
	mu     sync.Mutex
	out    []byte
	kicked bool
}

func (p *pipe) Send(b []byte) int { return p.SendShared(b, nil) }

func (p *pipe) SendShared(head, body []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(append(p.out, head...), body...)
	return len(head) + len(body)
}

func (p *pipe) Pending() int { return 0 }
func (p *pipe) Flush()       {}

func (p *pipe) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kicked
}

func (p *pipe) Kick(wire.Reason, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kicked = true
}

func (p *pipe) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.out
	p.out = nil
	return b
}

// device is a client with a kept session that does all that MQTT asks of it,
// and remembers its own side of the session over connections and over crashes
// of the broker.
type device struct {
	*world
	id   string
	port *relay.Port
	link *pipe

	subs    map[string]byte // that were acknowledged
	promise bool            // something was acknowledged that the session must remember
	out     []*message      // published, exchange not complete, in order
	nextID  uint16
	unread  map[uint16]bool // QoS 2 received and not released
	toAck   [][]byte        // answers not sent yet
	got     []arrival
}

// arrival is a message as the application of a device gets it.
type arrival struct {
	topic, payload string
	qos            byte
}

// message is one publish, and what has become of it.
type message struct {
	n        int
	from     *device
	topic    string
	qos      byte
	retain   bool
	id       uint16
	acked    bool // PUBACK or PUBREC came
	released bool // PUBREL was sent
	late     bool // refused once, which its publisher need not have heard before it sent others
	owed     []*device
}

func (m *message) payload() string { return fmt.Sprint(m.n) }

func (d *device) connected() bool { return d.port != nil }

// connect goes on with the session, and with what was under way in it.
func (d *device) connect() {
	d.note("%s connects", d.id)
	d.link = &pipe{}
	port, err := d.relay.Open(relay.Connect{ClientID: d.id, Version: wire.V5, Expiry: 3600, ReceiveMaximum: uint16(1 + d.rng.IntN(8))})
	if err != nil {
		d.fail("%s: %v", d.id, err)
	}
	if d.promise && !port.SessionPresent() && !d.crashed() {
		d.fail("%s: its session is gone", d.id)
	}
	d.port = port
	port.Attach(d.link)
	for _, m := range d.out {
		if m.released {
			d.send(wire.AppendAck(nil, wire.PUBREL, wire.V5, m.id, 0))
		} else {
			d.offer(m, true)
		}
	}
	port.Flush()
}

// lose ends the connection; what was not read is lost with it.
func (d *device) lose() {
	d.note("%s is gone", d.id)
	d.link.Kick(0, "")
	d.port.End(relay.End{Will: true})
	d.port, d.toAck = nil, nil
}

// forget drops what belongs to the connection, which the broker has not
// survived.
func (d *device) forget() { d.port, d.toAck = nil, nil }

func (d *device) frame(m *message, dup bool) []byte {
	return wire.AppendPublish(nil, &wire.Out{Version: wire.V5, QoS: m.qos, Dup: dup && m.qos > 0, Retain: m.retain, Topic: []byte(m.topic), Payload: []byte(m.payload())}, m.id)
}

func (d *device) send(raw []byte) {
	f, _, err := wire.Scan(raw, 0)
	if err != nil {
		d.fail("%s sends %x: %v", d.id, raw, err)
	}
	if err := d.port.Receive(f); err != nil {
		d.fail("%s: %v", d.id, err)
	}
}

// publish sends a few messages in one batch.
func (d *device) publish() {
	for range 1 + d.rng.IntN(4) {
		m := &message{n: d.published, from: d, topic: d.topic(), qos: byte(d.rng.IntN(3)), retain: d.rng.IntN(4) == 0}
		if m.retain {
			// One writer and one QoS for each topic, so that its values grow: what is
			// sent again at QoS 1 may come after what has been received at another.
			m.topic, m.qos = "state/"+d.id, map[string]byte{"a": 1, "b": 2, "c": 0}[d.id]
		}
		d.published++
		if m.qos > 0 {
			d.nextID = d.nextID%1000 + 1
			m.id = d.nextID
			d.out = append(d.out, m)
		}
		m.owed = d.interested(m)
		d.all = append(d.all, m)
		d.note("%s publishes %d on %s at QoS %d #%d, retain %v", d.id, m.n, m.topic, m.qos, m.id, m.retain)
		d.offer(m, false)
	}
	d.port.Flush()
}

// offer sends a publish, and notes whether it is refused.
func (d *device) offer(m *message, dup bool) {
	refused := d.relay.Totals().Refused
	d.send(d.frame(m, dup))
	m.late = m.late || d.relay.Totals().Refused > refused
}

// confirmed is a relay.Done that remembers.
type confirmed struct {
	mu   sync.Mutex
	told bool
	err  error
}

func (c *confirmed) Committed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told, c.err = true, err
}

func (c *confirmed) good() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told && c.err == nil
}

// subscribe asks for one filter; the world waits for the answer.
func (d *device) subscribe(filter string, qos byte) {
	d.note("%s subscribes to %s at QoS %d", d.id, filter, qos)
	delete(d.subs, filter) // until it is acknowledged neither is sure
	d.unsure[filter+" "+d.id] = true
	c := &confirmed{}
	_, granted := d.port.Subscribe([]relay.Subscription{{Filter: filter, QoS: qos}}, c)
	d.port.SendRetained(granted)
	d.port.Flush()
	d.settle()
	if c.good() {
		d.subs[filter] = qos
		d.promise = true
		delete(d.unsure, filter+" "+d.id)
	}
}

// read takes in what has come and makes the answers to it.
func (d *device) read() {
	for rest := d.link.take(); len(rest) > 0; {
		f, n, err := wire.Scan(rest, 0)
		if err != nil || n == 0 {
			d.fail("%s got %x: %v", d.id, rest, err)
		}
		rest = rest[n:]
		if f.Type == wire.PUBLISH {
			d.receive(f)
			continue
		}
		id, reason, err := wire.DecodeAck(f, wire.V5)
		if err != nil {
			d.fail("%s got %x: %v", d.id, f.Raw, err)
		}
		d.answered(f.Type, id, reason)
	}
}

func (d *device) receive(f wire.Frame) {
	p, err := wire.DecodeDelivery(f, wire.V5)
	if err != nil {
		d.fail("%s got %x: %v", d.id, f.Raw, err)
	}
	a := arrival{string(p.Topic), string(p.Payload), p.QoS}
	d.note("%s got %s on %s at QoS %d #%d, dup %v, retain %v", d.id, a.payload, a.topic, a.qos, p.PacketID, p.Dup, p.Retain)
	switch {
	case p.QoS == 1:
		d.toAck = append(d.toAck, wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, 0))
	case p.QoS == 2:
		d.toAck = append(d.toAck, wire.AppendAck(nil, wire.PUBREC, wire.V5, p.PacketID, 0))
		if d.unread[p.PacketID] {
			return // [MQTT-4.3.3-10]: it has this one already
		}
		d.unread[p.PacketID] = true
	}
	d.got = append(d.got, a)
	d.seen(a)
}

// answered takes what the broker says of a message that d has published, or of
// one that it has received.
func (d *device) answered(t wire.Type, id uint16, reason wire.Reason) {
	d.note("%s got %v #%d %v", d.id, t, id, reason)
	if t == wire.PUBREL {
		delete(d.unread, id)
		d.toAck = append(d.toAck, wire.AppendAck(nil, wire.PUBCOMP, wire.V5, id, 0))
		return
	}
	i := slices.IndexFunc(d.out, func(m *message) bool { return m.id == id })
	if i < 0 {
		return
	}
	m := d.out[i]
	if reason >= wire.UnspecifiedError && t != wire.PUBCOMP {
		d.out = slices.Delete(d.out, i, i+1) // refused: the application knows
		d.refused++
		return
	}
	m.acked = true
	switch t {
	case wire.PUBREC:
		d.promise = true
		m.released = true
		d.toAck = append(d.toAck, wire.AppendAck(nil, wire.PUBREL, wire.V5, id, 0))
	case wire.PUBACK, wire.PUBCOMP:
		d.out = slices.Delete(d.out, i, i+1)
	}
}

// answer sends some of the answers that are due, or all.
func (d *device) answer(all bool) {
	n := len(d.toAck)
	if !all && n > 0 {
		n = d.rng.IntN(n + 1)
	}
	for _, raw := range d.toAck[:n] {
		d.send(raw)
	}
	d.toAck = d.toAck[n:]
	d.port.Flush()
}

func (w *world) topic() string { return []string{"plant/a", "plant/b", "plant/c"}[w.rng.IntN(3)] }

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }
