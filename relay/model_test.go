package relay_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

// model is a reference broker in plain maps and slices. It knows what each
// client must get; the machine compares.
type model struct {
	sessions map[string]*modelSession
	inbound  map[string]map[uint16]bool // publisher: QoS 2 identifiers not released
	wills    map[string]message         // of those that are connected
}

type modelSession struct {
	subs      map[string]modelSub // by filter
	connected bool
	expiry    uint32    // seconds
	ends      time.Time // when not connected
	// expected is what is owed at QoS 1 and 2, in order; sent is how much of it
	// the client has seen, which it has acknowledged in part.
	expected []expectation
	zero     []expectation // owed at QoS 0; it may wait behind the rest
}

type modelSub struct {
	qos byte
	id  uint32 // 0: none
}

type expectation struct {
	topic   string
	payload string
	ids     []uint32 // of the subscriptions that matched, without repetition
	qos     byte
	id      uint16    // once seen, 0 before
	seen    int       // how often
	fresh   bool      // seen on this connection
	state   wire.Type // what the client has sent last for it: 0, PUBREC
	done    bool
}

// machine runs a broker and its model side by side.
type machine struct {
	*broker
	model   model
	clients map[string]*client
	version map[string]wire.Version
	window  map[string]int // Receive Maximum of the connection, the broker's own included
	script  []string
	n       int // messages published
}

func (m *machine) note(format string, args ...any) {
	m.script = append(m.script, fmt.Sprintf(format, args...))
}

func (m *machine) fail(format string, args ...any) {
	m.Helper()
	m.Fatalf("%s\nafter\n  %s", fmt.Sprintf(format, args...), strings.Join(m.script, "\n  "))
}

var ids = []string{"a", "b", "c"}

func (m *machine) expire() {
	for id, s := range m.model.sessions {
		if !s.connected && !time.Now().Before(s.ends) {
			delete(m.model.sessions, id)
			delete(m.model.inbound, id)
		}
	}
}

func (m *machine) connect(t *rapid.T) {
	id := rapid.SampledFrom(ids).Draw(t, "client")
	if m.clients[id] != nil {
		m.lose(id, rapid.Bool().Draw(t, "says goodbye"))
	}
	v := rapid.SampledFrom([]wire.Version{wire.V311, wire.V5}).Draw(t, "version")
	start := rapid.Bool().Draw(t, "clean start")
	seconds := rapid.SampledFrom([]uint32{0, 10, 100}).Draw(t, "expiry")
	window := rapid.Uint16Range(1, 5).Draw(t, "receive maximum")
	alias := rapid.Uint16Range(0, 3).Draw(t, "topic alias maximum")
	will := message{topic: rapid.SampledFrom([]string{"", "", "plant", "plant/line"}).Draw(t, "will"), qos: rapid.ByteRange(0, 2).Draw(t, "will QoS")}
	m.note("%s connects: version %v, clean start %v, expiry %d s, receive maximum %d, topic alias maximum %d, will on %q",
		id, v, start, seconds, window, alias, will.topic)
	s := m.model.sessions[id]
	present := s != nil && !start
	if !present {
		s = &modelSession{subs: map[string]modelSub{}}
		m.model.sessions[id] = s
		delete(m.model.inbound, id)
	}
	s.connected, s.expiry = true, seconds
	for i := range s.expected {
		s.expected[i].fresh = false
	}
	c := m.broker.open(id, version(v), expiry(seconds), receiveMaximum(window), aliases(alias), func(c *relay.Connect) {
		c.CleanStart = start
		if will.topic != "" {
			m.n++
			will.payload = fmt.Sprint(m.n)
			c.Will = &wire.Will{Topic: will.topic, QoS: will.qos, Payload: []byte(will.payload)}
			m.model.wills[id] = will
		}
	})
	if c.port.SessionPresent() != present {
		m.fail("%s: session present is %v; want %v", id, !present, present)
	}
	c.attach()
	m.clients[id], m.version[id], m.window[id] = c, v, min(int(window), maxInflight)
	m.look(id)
}

func (m *machine) lose(id string, goodbye bool) {
	m.note("%s is gone, with DISCONNECT: %v", id, goodbye)
	m.look(id)
	c, s := m.clients[id], m.model.sessions[id]
	if goodbye {
		c.disconnect()
	} else {
		c.end()
	}
	delete(m.clients, id)
	s.connected, s.ends = false, time.Now().Add(time.Duration(s.expiry)*time.Second)
	if will, ok := m.model.wills[id]; ok && !goodbye { // [MQTT-3.1.2-8]
		m.routeAll(will)
	}
	delete(m.model.wills, id)
	m.expire()
}

func (m *machine) subscribe(t *rapid.T, id string) {
	f, qos := rapid.SampledFrom([]string{"plant", "plant/line", "plant/+", "#", "+/line"}).Draw(t, "filter"), rapid.ByteRange(0, 2).Draw(t, "qos")
	sub := modelSub{qos: qos}
	if m.version[id] == wire.V5 {
		sub.id = rapid.Uint32Range(0, 3).Draw(t, "subscription identifier")
	}
	m.note("%s subscribes to %s at QoS %d, identifier %d", id, f, qos, sub.id)
	if got := m.clients[id].subscribe(relay.Subscription{Filter: f, QoS: qos, ID: sub.id}); got[0] != wire.Reason(qos) {
		m.fail("%s subscribes to %s: %v", id, f, got)
	}
	m.model.sessions[id].subs[f] = sub
}

func (m *machine) unsubscribe(t *rapid.T, id string) {
	subs := m.model.sessions[id].subs
	if len(subs) == 0 {
		return
	}
	f := rapid.SampledFrom(slices.Sorted(maps.Keys(subs))).Draw(t, "filter")
	m.note("%s unsubscribes from %s", id, f)
	m.clients[id].unsub(f)
	delete(subs, f)
}

// publish sends a batch of messages, at QoS 2 with the release left for later
// or the message sent again.
func (m *machine) publish(t *rapid.T, id string) {
	c := m.clients[id]
	var ms []message
	for range rapid.IntRange(1, 8).Draw(t, "messages") {
		topic, qos := rapid.SampledFrom([]string{"plant", "plant/line", "store/line"}).Draw(t, "topic"), rapid.ByteRange(0, 2).Draw(t, "qos")
		m.n++
		msg := message{topic: topic, payload: fmt.Sprint(m.n), qos: qos}
		if rapid.IntRange(0, 3).Draw(t, "size") == 0 {
			msg.payload += large
		}
		if qos > 0 {
			msg.id = rapid.Uint16Range(1, 4).Draw(t, "identifier")
		}
		open := m.model.inbound[id]
		if open == nil {
			open = map[uint16]bool{}
			m.model.inbound[id] = open
		}
		again := qos == 2 && open[msg.id]
		msg.dup = again
		m.note("%s publishes %.8s on %s at QoS %d #%d, again: %v", id, msg.payload, topic, qos, msg.id, again)
		ms = append(ms, msg)
		if again {
			continue
		}
		if qos == 2 {
			open[msg.id] = true
		}
		m.routeAll(msg)
	}
	c.publish(ms...)
}

// large makes a payload one that is not copied for each who gets it.
var large = " " + strings.Repeat("x", 4<<10)

func (m *machine) routeAll(msg message) {
	for _, s := range m.model.sessions {
		m.route(s, msg)
	}
}

func (m *machine) route(s *modelSession, msg message) {
	best := -1
	owed := expectation{topic: msg.topic, payload: msg.payload}
	for f, sub := range s.subs {
		if wire.MatchTopic(f, msg.topic) {
			best = max(best, int(sub.qos))
			if sub.id > 0 { // [MQTT-3.3.4-3]
				owed.ids = append(owed.ids, sub.id)
			}
		}
	}
	owed.ids = unique(owed.ids)
	switch owed.qos = byte(max(0, min(best, int(msg.qos)))); {
	case best < 0:
	case owed.qos > 0:
		s.expected = append(s.expected, owed)
	case s.connected:
		s.zero = append(s.zero, owed)
	}
}

// unique sorts ids and drops repetitions; their order and number mean nothing.
func unique(ids []uint32) []uint32 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// is reports whether p is the message owed, as a client of version v gets it.
func (e *expectation) is(p packet, v wire.Version) bool {
	want := e.ids
	if v != wire.V5 {
		want = nil
	}
	return p.topic == e.topic && p.payload == e.payload && p.qos == e.qos && slices.Equal(unique(p.ids), want)
}

func (m *machine) release(t *rapid.T, id string) {
	open := m.model.inbound[id]
	if len(open) == 0 {
		return
	}
	n := rapid.SampledFrom(slices.Sorted(maps.Keys(open))).Draw(t, "identifier")
	m.note("%s releases #%d", id, n)
	m.clients[id].send(m.clients[id].ack(wire.PUBREL, n, 0))
	delete(open, n)
}

// look compares what a client has got with what it is owed so far.
func (m *machine) look(id string) {
	s, c := m.model.sessions[id], m.clients[id]
	for _, p := range c.take() {
		switch {
		case p.kind == wire.PUBLISH && p.qos == 0:
			if len(s.zero) == 0 || !s.zero[0].is(p, m.version[id]) {
				m.fail("%s got %v; want QoS 0 %+v", id, p, s.zero)
			}
			s.zero = s.zero[1:]
		case p.kind == wire.PUBLISH:
			m.arrived(id, s, p)
		case p.kind == wire.PUBREL:
			i := slices.IndexFunc(s.expected, func(e expectation) bool { return e.id == p.id && e.state == wire.PUBREC && !e.done })
			if i < 0 {
				m.fail("%s got %v that it has not asked for", id, p)
			}
			s.expected[i].fresh = true
		}
	}
}

// arrived checks that p is the first thing owed that was not seen on this
// connection.
func (m *machine) arrived(id string, s *modelSession, p packet) {
	for i := range s.expected {
		e := &s.expected[i]
		if e.done || e.fresh {
			continue
		}
		switch {
		case e.state == wire.PUBREC:
			m.fail("%s got %v before PUBREL #%d, or the message again", id, p, e.id)
		case !e.is(p, m.version[id]):
			m.fail("%s got %v; want %+v", id, p, *e)
		case p.dup != (e.seen > 0):
			m.fail("%s got %v the %d. time: DUP is wrong", id, p, e.seen+1)
		case e.seen > 0 && e.id != p.id:
			m.fail("%s got %v under another identifier than #%d", id, p, e.id)
		}
		for _, o := range s.expected {
			if !o.done && o.id == p.id && o.payload != p.payload {
				m.fail("%s got %v while %s uses the identifier", id, p, o.payload)
			}
		}
		e.id, e.fresh = p.id, true
		e.seen++
		m.checkWindow(id, s)
		return
	}
	m.fail("%s got %v and is owed nothing", id, p)
}

// checkWindow checks that no more is unacknowledged than the client's Receive
// Maximum allows. [MQTT-3.3.4-9]
func (m *machine) checkWindow(id string, s *modelSession) {
	open := 0
	for _, e := range s.expected {
		if e.fresh && !e.done {
			open++
		}
	}
	if open > m.window[id] {
		m.fail("%s has %d messages to acknowledge; its Receive Maximum is %d", id, open, m.window[id])
	}
}

// acknowledge takes the next step for some of what the client has seen on this
// connection, in any order.
func (m *machine) acknowledge(t *rapid.T, id string) {
	m.look(id)
	s, c := m.model.sessions[id], m.clients[id]
	var steps []int
	for i, e := range s.expected {
		if e.fresh && !e.done {
			steps = append(steps, i)
		}
	}
	if len(steps) == 0 {
		return
	}
	steps = rapid.Permutation(steps).Draw(t, "order")
	m.step(id, c, s, steps[:rapid.IntRange(1, len(steps)).Draw(t, "acknowledged")])
}

func (m *machine) step(id string, c *client, s *modelSession, steps []int) {
	var frames [][]byte
	for _, i := range steps {
		e := &s.expected[i]
		kind := wire.PUBACK
		switch {
		case e.qos == 2 && e.state == 0:
			kind, e.state = wire.PUBREC, wire.PUBREC
		case e.qos == 2:
			kind, e.done = wire.PUBCOMP, true
		default:
			e.done = true
		}
		m.note("%s sends %v #%d for %s", id, kind, e.id, e.payload)
		frames = append(frames, c.ack(kind, e.id, 0))
	}
	c.send(frames...)
	m.look(id)
}

// finish lets every client get everything, and checks that nothing is left.
func (m *machine) finish() {
	for id, s := range m.model.sessions {
		if !s.connected {
			m.note("%s connects at last", id)
			s.connected = true
			for i := range s.expected {
				s.expected[i].fresh = false
			}
			m.window[id], m.version[id] = 3, wire.V5
			m.clients[id] = m.broker.open(id, kept, receiveMaximum(3))
			m.clients[id].attach()
		}
		m.look(id)
		for {
			var steps []int
			for i, e := range s.expected {
				if e.fresh && !e.done {
					steps = append(steps, i)
				}
			}
			if len(steps) == 0 {
				break
			}
			m.step(id, m.clients[id], s, steps)
		}
		if len(s.zero) > 0 {
			m.fail("%s never got QoS 0 %+v", id, s.zero)
		}
		for _, e := range s.expected {
			if !e.done {
				m.fail("%s never got %s at QoS %d", id, e.payload, e.qos)
			}
		}
	}
	m.empty()
	if n := m.Totals(); n.Sessions != len(m.model.sessions) {
		m.fail("%d sessions; want %d", n.Sessions, len(m.model.sessions))
	}
}

// bubbled hides the deadline of a test, which rapid would ask for and must not
// in a bubble.
type bubbled struct{ testing.TB }

func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 10 {
			rapid.Check(bubbled{t}, func(t *rapid.T) { modelled(t, false) })
		}
	})
}

// maxInflight is small, so that windows fill up.
const maxInflight = 4

// modelled runs a broker by chance beside its model. If moves is set, everything
// moves to another broker now and then, and nobody must notice.
func modelled(t *rapid.T, moves bool) {
	b := openBroker(t, func(c *relay.Config) { c.MaxInflight = maxInflight }, nil)
	m := &machine{broker: b, clients: map[string]*client{}, version: map[string]wire.Version{}, window: map[string]int{},
		model: model{sessions: map[string]*modelSession{}, inbound: map[string]map[uint16]bool{}, wills: map[string]message{}}}
	defer func() { m.Close() }()
	with := func(f func(*rapid.T, string)) func(*rapid.T) {
		return func(t *rapid.T) {
			connected := slices.Sorted(maps.Keys(m.clients))
			if len(connected) == 0 {
				t.Skip("nobody is connected")
			}
			f(t, rapid.SampledFrom(connected).Draw(t, "client"))
		}
	}
	actions := map[string]func(*rapid.T){
		"connect":     m.connect,
		"lose":        with(func(_ *rapid.T, id string) { m.lose(id, false) }),
		"subscribe":   with(m.subscribe),
		"unsubscribe": with(m.unsubscribe),
		"publish":     with(m.publish),
		"publish 2":   with(m.publish),
		"release":     with(m.release),
		"acknowledge": with(m.acknowledge),
		"time": func(t *rapid.T) {
			d := rapid.SampledFrom([]time.Duration{time.Second, 11 * time.Second, 101 * time.Second}).Draw(t, "duration")
			m.note("%v pass", d)
			pass(d)
			m.expire()
		},
		"": func(*rapid.T) {
			for id := range m.clients {
				m.look(id)
			}
			m.weighs()
		},
	}
	if moves {
		actions["move"] = func(*rapid.T) { m.move() }
	}
	t.Repeat(actions)
	m.finish()
}
