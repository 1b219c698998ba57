package bridge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// Dead letters are messages that the far side never takes. They wait in a kept
// session of their own, as everything here does, until somebody sends them again
// or discards them.
type dead struct {
	relay *relay.Relay
	id    string // of the session
	root  string // what their topics begin with
	again string // what topics of those begin with that are sent again

	mu sync.Mutex // one reader at a time
}

// What sessions and topics of an uplink end in.
const (
	DeadSuffix   = "/dead"
	replaySuffix = "/replay/"
)

// User properties of a dead letter.
const (
	deadWhy  = "edgebroker-why"
	deadTime = "edgebroker-time"
)

func newDead(r *relay.Relay, session string) *dead {
	return &dead{relay: r, id: session + DeadSuffix, root: session + DeadSuffix + "/", again: session + replaySuffix}
}

func (d *dead) connect() relay.Connect {
	return relay.Connect{ClientID: d.id, Version: wire.V5, Expiry: forever, Standing: true, Owner: owner}
}

// open makes the session.
func (d *dead) open() error {
	port, err := d.relay.Open(d.connect())
	if err != nil {
		return err
	}
	defer port.End(relay.End{})
	done := make(relay.Outcome, 1)
	_, granted := port.Subscribe([]relay.Subscription{{Filter: d.root + "#", QoS: 1, RetainAsPublished: true, RetainHandling: 2}}, done)
	if err := <-done; err != nil {
		return fmt.Errorf("store the subscription: %w", err)
	}
	port.SendRetained(granted)
	port.Flush()
	return nil
}

// bury keeps m, and calls done when it is stored, on any goroutine.
func (d *dead) bury(m *relay.Message, why string, done func(error)) {
	props := wire.AppendUserProperty(append([]byte(nil), m.Props...), wire.UserProperty{Key: deadWhy, Value: why})
	props = wire.AppendUserProperty(props, wire.UserProperty{Key: deadTime, Value: time.Now().UTC().Format(time.RFC3339)})
	topic := strings.TrimPrefix(m.Topic, d.again)
	if len(d.again)+len(topic) > maxTopic { // it could not be sent again
		done(nil)
		return
	}
	err := d.relay.Publish(relay.Outgoing{Topic: d.root + topic, Payload: m.Payload, QoS: 1, Props: props}, told(done))
	if err != nil {
		done(err)
	}
}

// buried are messages whose dead letters are stored, by relay.Delivery.Seq: the
// last ones, so that a connection which ends meanwhile makes no second one.
type buried struct {
	mu   sync.Mutex
	seqs [256]uint64
	next int
}

func (b *buried) add(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seqs[b.next%len(b.seqs)] = seq
	b.next++
}

func (b *buried) has(seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return seq != 0 && slices.Contains(b.seqs[:], seq)
}

// told is a relay.Done that calls a function.
type told func(error)

// Committed implements relay.Done.
func (t told) Committed(err error) { t(err) }

// DeadLetter is a message that the far side has not taken.
type DeadLetter struct {
	Topic   string // as it was here
	Payload []byte
	Why     string
	Time    time.Time // when it was given up
	Size    int       // bytes of payload
}

// reader takes what lies in the session as far as it is let.
type reader struct {
	mu   sync.Mutex
	got  []relay.Delivery
	over bool
	more chan struct{} // something has come
}

// Take implements relay.Taker.
func (r *reader) Take(d relay.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, d)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// Send, and what follows, implement relay.Link.
func (r *reader) Send([]byte) int              { return 0 }
func (r *reader) SendShared(_, _ []byte) int   { return 0 }
func (r *reader) Pending() int                 { return 0 }
func (r *reader) Flush()                       {}
func (r *reader) Kick(_ wire.Reason, _ string) { r.mu.Lock(); r.over = true; r.mu.Unlock() }
func (r *reader) Ended() bool                  { r.mu.Lock(); defer r.mu.Unlock(); return r.over }
func (r *reader) taken() (list []relay.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.got = r.got, nil
	return list
}

// letter makes a DeadLetter of what was taken.
func (d *dead) letter(m *relay.Message) DeadLetter {
	l := DeadLetter{Topic: strings.TrimPrefix(m.Topic, d.root), Payload: m.Payload, Size: len(m.Payload)}
	for key, value := range wire.UserProperties(m.Props) {
		switch string(key) {
		case deadWhy:
			l.Why = string(value)
		case deadTime:
			l.Time, _ = time.Parse(time.RFC3339, string(value)) // zero if somebody else has written it
		}
	}
	return l
}

// count is how many there are.
func (d *dead) count() int {
	info, _, _ := d.relay.Session(d.id)
	return info.Queued + info.Inflight
}

// each calls f for the oldest ones, at most so many, one after the other, and
// forgets those for which f returns true.
func (d *dead) each(most int, f func(*relay.Message) (bool, error)) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	port, err := d.relay.Open(d.connect())
	if err != nil {
		return 0, err
	}
	r := &reader{more: make(chan struct{}, 1)}
	defer port.End(relay.End{})
	port.Attach(r)
	for left := min(most, d.count()); left > 0; {
		list := r.taken()
		if len(list) == 0 {
			select {
			case <-r.more: // from disk
				continue
			case <-time.After(readPatience):
				return n, errors.New("stored dead letters do not come; see edgebroker doctor")
			}
		}
		for i := range list {
			if left == 0 {
				break
			}
			left--
			done, err := f(list[i].Message)
			if err != nil {
				return n, err
			}
			if !done {
				continue
			}
			n++
			ack, _, err := wire.Scan(wire.AppendAck(nil, wire.PUBACK, wire.V5, list[i].PacketID, wire.Success), 0)
			if err == nil {
				err = port.Receive(ack)
			}
			if err != nil {
				return n, err
			}
			port.Flush()
		}
		if len(list) < left && r.Ended() {
			return n, errors.New("this broker does not go on with it; see its log")
		}
	}
	return n, nil
}

const readPatience = 10 * time.Second

// maxListed is how many dead letters are shown: as many as may be in flight.
const maxListed = 100

// DeadLetters lists the oldest messages that the far side has not taken, and
// how many there are.
func (u *Uplink) DeadLetters() (list []DeadLetter, total int, err error) {
	total = u.dead.count()
	_, err = u.dead.each(min(total, maxListed), func(m *relay.Message) (bool, error) {
		list = append(list, u.dead.letter(m))
		return false, nil
	})
	return list, total, err
}

// Discard forgets the dead letters, and says how many there were.
func (u *Uplink) Discard() (int, error) {
	return u.dead.each(u.dead.count(), func(*relay.Message) (bool, error) { return true, nil })
}

// Replay puts the dead letters at the end of what waits for the far side, each
// stored there before it is forgotten here, and says how many there were. Nobody
// else gets them again.
func (u *Uplink) Replay() (int, error) {
	u.suspect.pardon()
	return u.dead.each(u.dead.count(), func(m *relay.Message) (bool, error) {
		done := make(relay.Outcome, 1)
		topic := u.dead.again + strings.TrimPrefix(m.Topic, u.dead.root)
		if err := u.near.relay.Publish(relay.Outgoing{Topic: topic, Payload: m.Payload, QoS: 1, Props: withoutDeath(m.Props)}, done); err != nil {
			return false, err
		}
		err := <-done
		return err == nil, err
	})
}

// withoutDeath is props without what bury has added at the end.
func withoutDeath(props []byte) []byte {
	at := strings.LastIndex(string(props), deadWhy) // a device may have such a property, too
	if at < 3 {
		return props
	}
	return props[:at-3] // identifier and length of the name
}
