package relay_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/wire"
)

// link is a connection's outbound half whose far end the test controls. It
// follows listen.Conn step by step: who finds it busy leaves the work to
// whoever writes, what does not go at once goes in the background, and
// writable is called below low water and again when nothing is left.
type link struct {
	mu       sync.Mutex
	more     sync.Cond // room has grown
	pending  []byte    // appended, not taken
	got      []byte    // taken, not looked at by the test
	room     int       // how many bytes the peer takes; negative for no limit
	low      int       // bytes; see writable
	writable func()    // nil before the port is attached
	// concurrent makes a goroutine drain, as the real thing does. Otherwise the
	// caller of grant does it, so that tests are deterministic.
	concurrent bool

	onFlush func()        // called at the beginning of Flush, may be nil
	arrived chan struct{} // told when the peer has taken something, if it is not nil

	busy, again, armed, draining bool

	aliasMaximum uint16            // as the client has announced
	aliases      map[uint16]string // as the broker has set

	kicks   int
	kicked  wire.Reason // of the first Kick
	why     string
	shared  int // frames that came by SendShared
	flushes int
	most    int // the highest len(pending)
}

func newLink(low int) *link {
	l := &link{room: -1, low: low}
	l.more.L = &l.mu
	return l
}

func (l *link) Send(frames []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appendLocked(frames)
}

func (l *link) SendShared(head, body []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared++
	l.appendLocked(head)
	return l.appendLocked(body)
}

func (l *link) appendLocked(p []byte) int {
	if l.kicks > 0 {
		return 0
	}
	l.pending = append(l.pending, p...)
	l.most = max(l.most, len(l.pending))
	if len(l.pending) >= l.low {
		l.armed = true
	}
	return len(l.pending)
}

// kickedBy is how often the link was kicked, and why at first.
func (l *link) kickedBy() (int, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kicks, l.why
}

func (l *link) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

func (l *link) takeLocked(n int) {
	l.got = append(l.got, l.pending[:n]...)
	l.pending = append(l.pending[:0], l.pending[n:]...)
	if l.room >= 0 {
		l.room -= n
	}
	if l.arrived != nil && n > 0 {
		select {
		case l.arrived <- struct{}{}:
		default:
		}
	}
}

func (l *link) fitsLocked(n int) int {
	if l.room < 0 {
		return n
	}
	return min(n, l.room)
}

func (l *link) Flush() {
	if l.onFlush != nil {
		l.onFlush()
	}
	l.mu.Lock()
	l.flushes++
	if l.busy || len(l.pending) == 0 {
		l.again = l.busy
		l.mu.Unlock()
		return
	}
	l.busy = true
	for contended := false; ; {
		l.again = false
		work := len(l.pending)
		l.mu.Unlock() // as the real thing is while it writes
		l.mu.Lock()
		work = min(work, len(l.pending)) // it may have been closed meanwhile
		n := l.fitsLocked(work)
		l.takeLocked(n)
		contended = contended || l.again
		if n == work && l.again && len(l.pending) > 0 {
			continue
		}
		if n < work || contended && l.armed {
			l.draining = true
			concurrent := l.concurrent
			l.mu.Unlock()
			if concurrent {
				go l.drain()
			}
			return
		}
		l.armed = len(l.pending) >= l.low
		l.busy = false
		l.mu.Unlock()
		return
	}
}

func (l *link) drain() {
	l.mu.Lock()
	for {
		for len(l.pending) > 0 {
			n := l.fitsLocked(len(l.pending))
			if n == 0 {
				if !l.concurrent {
					l.mu.Unlock()
					return
				}
				l.more.Wait()
				continue
			}
			l.takeLocked(n)
			if l.armed && len(l.pending) < l.low {
				l.armed = false
				l.tellLocked()
			}
		}
		l.armed = false
		l.tellLocked()
		if len(l.pending) == 0 {
			l.busy, l.draining = false, false
			l.mu.Unlock()
			return
		}
	}
}

func (l *link) tellLocked() {
	tell := l.writable
	l.mu.Unlock()
	if tell != nil {
		tell()
	}
	l.mu.Lock()
}

func (l *link) Ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kicks > 0
}

func (l *link) Kick(r wire.Reason, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kicks++; l.kicks == 1 {
		l.kicked, l.why = r, why
	}
}

// stall makes the peer take n more bytes and then no more.
func (l *link) stall(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room = n
}

// grant lets the peer take n bytes more, all that come if n is negative.
func (l *link) grant(n int) {
	l.mu.Lock()
	switch {
	case n < 0:
		l.room = -1
	case l.room >= 0:
		l.room += n
	}
	l.more.Broadcast()
	drain := l.draining && !l.concurrent
	l.mu.Unlock()
	if drain {
		l.drain()
	}
}

// close lets a drain that waits end, as the end of a connection does.
func (l *link) close() {
	l.mu.Lock()
	l.kicks++
	l.pending, l.room, l.writable = nil, -1, nil
	l.more.Broadcast()
	l.mu.Unlock()
}

// take returns what the peer has got since the last take, decoded.
func (l *link) take(v wire.Version) ([]packet, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []packet
	for {
		f, n, err := wire.Scan(l.got, 0)
		if err != nil {
			return out, fmt.Errorf("the broker sent %x: %w", l.got, err)
		}
		if n == 0 {
			l.got = append([]byte(nil), l.got...)
			return out, nil
		}
		p, err := decode(f, v)
		if err != nil {
			return out, fmt.Errorf("the broker sent %x: %w", f.Raw, err)
		}
		if err := l.resolveLocked(&p); err != nil {
			return out, err
		}
		out = append(out, p)
		l.got = l.got[n:]
	}
}

// resolveLocked does what a client does with a topic alias. [MQTT-3.3.2-7]
func (l *link) resolveLocked(p *packet) error {
	switch known := l.aliases[p.alias]; {
	case p.alias == 0:
	case p.alias > l.aliasMaximum:
		return fmt.Errorf("the broker set topic alias %d, the client takes %d", p.alias, l.aliasMaximum)
	case p.topic != "":
		if l.aliases == nil {
			l.aliases = make(map[uint16]string)
		}
		l.aliases[p.alias] = p.topic
	case known == "":
		return fmt.Errorf("the broker used topic alias %d before setting it", p.alias)
	default:
		p.topic, p.aliased = known, true
	}
	return nil
}

// packet is a frame as a client understands it.
type packet struct {
	kind      wire.Type
	id        uint16
	reason    wire.Reason
	topic     string
	payload   string
	qos       byte
	dup       bool
	retain    bool
	props     string // forwardable ones
	hasExpiry bool
	expiry    uint32
	ids       []uint32 // subscription identifiers
	alias     uint16
	aliased   bool // the alias stood for the topic
}

// String is short, for comparison and for reading: "PUBLISH q1 #3 dup a/b=x".
func (p packet) String() string {
	if p.kind != wire.PUBLISH {
		s := fmt.Sprintf("%v #%d", p.kind, p.id)
		if p.reason != wire.Success {
			s += " " + p.reason.String()
		}
		return s
	}
	s := fmt.Sprintf("PUBLISH q%d", p.qos)
	if p.qos > 0 {
		s += fmt.Sprintf(" #%d", p.id)
	}
	if p.dup {
		s += " dup"
	}
	if p.retain {
		s += " retain"
	}
	s += " " + p.topic + "=" + short(p.payload)
	if len(p.ids) > 0 {
		s += fmt.Sprint(" ids", p.ids)
	}
	if p.hasExpiry {
		s += fmt.Sprintf(" expiry %d", p.expiry)
	}
	if p.props != "" {
		s += fmt.Sprintf(" props %x", p.props)
	}
	return s
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%s...(%d)", s[:16], len(s))
	}
	return s
}

func decode(f wire.Frame, v wire.Version) (packet, error) {
	p := packet{kind: f.Type}
	switch f.Type {
	case wire.PUBLISH:
		d, err := wire.DecodeDelivery(f, v)
		if err != nil {
			return p, err
		}
		p.id, p.topic, p.payload, p.qos = d.PacketID, string(d.Topic), string(d.Payload), d.QoS
		p.alias = d.Alias
		p.dup, p.retain, p.hasExpiry, p.expiry, p.ids = d.Dup, d.Retain, d.HasExpiry, d.Expiry, d.SubIDs
		if len(d.SubIDs) == 0 {
			p.props = string(wire.AppendForward(nil, &d.Publish))
		}
		return p, nil
	case wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP:
		var err error
		p.id, p.reason, err = wire.DecodeAck(f, v)
		return p, err
	}
	return p, fmt.Errorf("a relay does not send %v", f.Type)
}

func TestLinkStalls(t *testing.T) {
	l := newLink(4)
	told := 0
	l.writable = func() { told++ }
	l.stall(3)
	l.Send(wire.AppendAck(nil, wire.PUBACK, wire.V311, 7, 0))
	l.Send(wire.AppendAck(nil, wire.PUBACK, wire.V311, 8, 0))
	l.Flush()
	if got, _ := l.take(wire.V311); len(got) != 0 || l.Pending() != 5 {
		t.Fatalf("took %v, %d bytes wait; want nothing whole and 5", got, l.Pending())
	}
	l.grant(2)
	if got, _ := l.take(wire.V311); fmt.Sprint(got) != "[PUBACK #7]" || told != 1 {
		t.Fatalf("took %v, told %d times; want the first frame, and one call below low water", got, told)
	}
	l.grant(-1)
	if got, _ := l.take(wire.V311); fmt.Sprint(got) != "[PUBACK #8]" || told != 2 || l.busy {
		t.Fatalf("took %v, told %d times; want the second frame, and one call when empty", got, told)
	}
}

// What is published to a connection that has just ended has not been sent: at
// QoS 0 it is lost, which is counted, and else it comes with the next one.
func TestEndedLinkIsSentNothing(t *testing.T) {
	for name, n := range map[string]uint16{"frames as they are": 0, "one by one": 5} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := openBroker(t, nil, nil)
				sub, pub := b.connect("sub", kept, aliases(n)), b.connect("pub")
				sub.sub(1, "t")
				pub.pub(0, "t=a")
				if got := payloads(sub.take()); got != "a" {
					t.Fatalf("got %s", got)
				}
				sub.link.Kick(0, "")
				pub.pub(0, "t=b")
				pub.pub(1, "t=c")
				pub.pub(0, "t=d")
				if sent := b.Totals().Sent.QoS; sent != [3]uint64{1} {
					t.Errorf("sent %v; want nothing but the first message", sent)
				}
				b.drops("qos0_msg 2")
				sub = b.connect("sub", kept)
				if got := payloads(sub.drained()); got != "c" {
					t.Errorf("the next connection got %s", got)
				}
			})
		})
	}
}
