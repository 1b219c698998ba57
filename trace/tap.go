package trace

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// Tap makes entries of the packets of one connection. Its methods may be called
// from any goroutine and never block. What they are given is not kept.
type Tap struct {
	trace *Trace
	party Party

	mu       sync.Mutex // guards everything that follows
	client   string
	version  wire.Version // 0: CONNECT has not come
	number   uint64       // 0: nothing of the connection has been shown
	last     time.Time    // of the packet before; zero: there was none
	faulty   bool         // what is wrong with the last packet received has been shown
	held     int64        // bytes of the trace's state
	received half
	sent     half
}

// half is what is remembered of the packets of one direction.
type half struct {
	aliases map[uint16]string
	asked   map[question]asked // by what the other side is to answer
}

type question struct {
	answer wire.Type
	id     uint16
}

type asked struct {
	at   time.Time
	with wire.Type
}

const (
	askedCost = 64 // bytes of memory, roughly
	aliasCost = 64 // and the topic
)

// Received takes a packet from the client.
func (t *Tap) Received(f wire.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	d := wire.Dissect(f.Raw, cmp.Or(t.version, wire.V311), false)
	t.faulty = false
	if d.Type == wire.CONNECT && t.version == 0 {
		t.version = d.Version
		if len(d.ClientID) > 0 {
			t.client = short(d.ClientID)
		}
	}
	p := t.packet(&d, len(f.Raw), nil)
	var fault *Fault
	if d.Err != nil {
		fault = &Fault{What: d.Err.Error(), Head: head(f.Raw, &d, t.trace.q.Payload > 0)}
		if d.At >= 0 {
			fault.Offset = &d.At
		}
	}
	t.show(now, In, &d, p, fault, 0)
}

// Sent takes a packet to the client, which may be in two parts, of which the
// second is the end of a payload. behind is how many bytes wait before it that
// the client does not take.
func (t *Tap) Sent(front, body []byte, behind int) {
	if len(front) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	d := wire.Dissect(front, cmp.Or(t.version, wire.V311), true)
	p := t.packet(&d, len(front)+len(body), body)
	var fault *Fault
	if d.Err != nil {
		fault = &Fault{What: d.Err.Error()}
	}
	t.show(now, Out, &d, p, fault, behind)
}

// show notes what the packet means for those to come, and makes an entry of it
// if it is of interest.
func (t *Tap) show(now time.Time, direction string, d *wire.Dissection, p *Packet, fault *Fault, behind int) {
	q := &t.trace.q
	from, to := &t.received, &t.sent
	if direction == Out {
		from, to = to, from
	}
	topic := t.alias(from, d, direction)
	if len(d.Topic) == 0 && topic != "" {
		p.AliasOf = short([]byte(topic))
	}
	wanted := len(q.Topics) == 0 || t.about(d, topic)
	if a, ok := to.answered(d); ok {
		t.hold(-askedCost)
		wanted = true
		p.Answers = &Answer{Type: a.with.String(), After: now.Sub(a.at).Seconds()}
	}
	if wanted {
		t.ask(from, d, now)
	}
	gap := now.Sub(t.last).Seconds()
	first := t.last.IsZero()
	t.last = now
	if !wanted || fault == nil && !q.shows(d.Type) {
		return
	}
	t.introduce(now)
	t.faulty = fault != nil
	p.Behind = behind
	e := Entry{Time: now, What: PacketSeen, Direction: direction, Packet: p, Fault: fault, cost: entryCost + p.cost()}
	if !first {
		e.Gap = &gap
	}
	t.put(e)
}

// alias remembers the alias of a PUBLISH and returns its topic, empty if that is
// not known.
func (t *Tap) alias(h *half, d *wire.Dissection, direction string) string {
	if d.Type != wire.PUBLISH || d.Err != nil {
		return ""
	}
	topic := string(d.Topic)
	switch {
	case d.Alias == 0:
	case topic != "":
		before, known := h.aliases[d.Alias]
		if known {
			t.hold(-int64(aliasCost + len(before)))
			delete(h.aliases, d.Alias)
		}
		if t.hold(int64(aliasCost + len(topic))) {
			if h.aliases == nil {
				h.aliases = map[uint16]string{}
			}
			h.aliases[d.Alias] = topic
		}
	default:
		topic = h.aliases[d.Alias]
		if topic == "" && direction == In && t.party.AliasTopic != nil {
			topic = t.party.AliasTopic(d.Alias)
		}
	}
	return topic
}

// about reports whether a packet that answers nothing is about a topic of
// interest.
func (t *Tap) about(d *wire.Dissection, topic string) bool {
	q := &t.trace.q
	switch d.Type {
	case wire.PUBLISH:
		return topic != "" && q.topic(topic)
	case wire.CONNECT:
		return d.Will != nil && q.topic(string(d.Will.Topic))
	case wire.SUBSCRIBE, wire.UNSUBSCRIBE:
		for _, f := range d.Filters {
			if q.filter(f.Filter) {
				return true
			}
		}
	}
	return false
}

// ask remembers what the other side is to answer.
func (t *Tap) ask(h *half, d *wire.Dissection, now time.Time) {
	q := question{id: d.PacketID}
	switch d.Type {
	case wire.CONNECT:
		q.answer = wire.CONNACK
	case wire.PUBLISH:
		switch d.QoS {
		case 0:
			return
		case 1:
			q.answer = wire.PUBACK
		default:
			q.answer = wire.PUBREC
		}
	case wire.PUBREC:
		if len(d.Reasons) > 0 && d.Reasons[0] >= wire.UnspecifiedError {
			return
		}
		q.answer = wire.PUBREL
	case wire.PUBREL:
		q.answer = wire.PUBCOMP
	case wire.SUBSCRIBE:
		q.answer = wire.SUBACK
	case wire.UNSUBSCRIBE:
		q.answer = wire.UNSUBACK
	case wire.PINGREQ:
		q.answer = wire.PINGRESP
	case wire.AUTH:
		q.answer = wire.AUTH
	default:
		return
	}
	if _, again := h.asked[q]; !again && !t.hold(askedCost) {
		return
	}
	if h.asked == nil {
		h.asked = map[question]asked{}
	}
	h.asked[q] = asked{now, d.Type}
}

// answered is what a packet answers of what the side has asked.
func (h *half) answered(d *wire.Dissection) (asked, bool) {
	q := question{d.Type, d.PacketID}
	if d.Type == wire.PUBLISH {
		return asked{}, false
	}
	a, ok := h.asked[q]
	delete(h.asked, q)
	return a, ok
}

// hold asks for n bytes of state, or gives them back.
func (t *Tap) hold(n int64) bool {
	if total := t.trace.state.Add(n); n > 0 && total > maxState {
		t.trace.state.Add(-n)
		return false
	}
	t.held += n
	return true
}

// Broken takes what ends the connection: input that is no packet, or, if that
// is nil, an error of the packet that was received last.
func (t *Tap) Broken(input []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.number == 0 && len(t.trace.q.Topics) > 0 || input == nil && t.faulty {
		return
	}
	now := time.Now()
	t.introduce(now)
	fault := &Fault{What: err.Error()}
	if len(input) > 0 {
		at := 0
		if _, _, bad := wire.Scan(input[:1], 0); bad == nil && wire.ReasonOf(err) != wire.UnspecifiedError {
			at = 1 // the length
		}
		fault.Offset = &at
		fault.Head = head(input, nil, t.trace.q.Payload > 0)
	}
	t.put(Entry{Time: now, What: Broken, Direction: In, Fault: fault, cost: entryCost})
}

// Ended takes why the connection has ended, and how many bytes were read that
// are no whole packet, and how many were not sent any more.
func (t *Tap) Ended(word string, err error, unread, unsent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hold(-t.held)
	if t.number == 0 {
		return
	}
	now := time.Now()
	parts := []string{strings.ReplaceAll(word, "_", " ")}
	if err != nil {
		parts = append(parts, err.Error())
	}
	if unread > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes that have come were not taken as packets", unread))
	}
	if unsent > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes that were to be sent have not been taken", unsent))
	}
	t.put(Entry{Time: now, What: Ended, Remote: t.party.Remote, Note: strings.Join(parts, "; "), cost: entryCost})
}

// introduce shows the connection before the first that is shown of it.
func (t *Tap) introduce(now time.Time) {
	if t.number != 0 {
		return
	}
	t.number = t.trace.number()
	note := ""
	if v := t.party.Version; v != 0 {
		note = fmt.Sprintf("MQTT %v, since %s", v, t.party.Connected.UTC().Format("2006-01-02 15:04:05 UTC"))
		if t.party.Before > 0 {
			note += fmt.Sprintf("; %d bytes were waiting to be sent, which are not shown", t.party.Before)
		}
	}
	t.put(Entry{Time: now, What: Connection, Remote: t.party.Remote, Listener: t.party.Listener, Note: note, cost: entryCost})
}

// put adds what is the same in all entries.
func (t *Tap) put(e Entry) {
	e.Since = e.Time.Sub(t.trace.began).Seconds()
	e.Conn, e.Client = t.number, t.client
	t.trace.put(e)
}
