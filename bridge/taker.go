package bridge

import (
	"sync"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// taker is what relay.Takers of all kinds of uplinks have in common.
type taker struct {
	up   *Uplink
	wake chan struct{} // there may be something to do
	gone chan struct{} // closed when the connection has ended

	mu      sync.Mutex // guards what follows, and what is beside the taker
	over    bool       // the connection has ended
	pace    throttle
	verdict []frame // what this side says of messages; see pronounce
}

// begin makes t ready.
func (t *taker) begin(up *Uplink) {
	t.up, t.wake, t.gone = up, make(chan struct{}, 1), make(chan struct{})
	t.pace = up.throttle(t.rested)
}

// rested lets more go after a pause.
func (t *taker) rested() {
	t.mu.Lock()
	t.pace.woken()
	t.mu.Unlock()
	t.up.near.writable()
}

// Flush implements relay.Link.
func (t *taker) Flush() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Ended implements relay.Link.
func (t *taker) Ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// judgeLocked gives up d, which can never go. The session counts it as refused
// when its dead letter is stored.
func (t *taker) judgeLocked(d relay.Delivery, r wire.Reason, why string) {
	if d.QoS > 0 && t.up.buried.has(d.Seq) { // on a connection that ended before the session was told
		t.verdict = append(t.verdict, frame{kind: ackOf(d.QoS), id: d.PacketID, reason: r})
		return
	}
	t.up.poison(d, why)
	if d.QoS > 0 {
		t.verdict = append(t.verdict, frame{kind: ackOf(d.QoS), id: d.PacketID, reason: r, dead: d.Message, why: why, seq: d.Seq})
	}
}

// pronounce says verdict to the session here, on behalf of link, which is t. Call
// it without locks.
func (t *taker) pronounce(link relay.Taker, verdict []frame, fault func(error)) {
	for _, f := range verdict {
		if f.dead != nil {
			t.up.dead.bury(f.dead, f.why, func(err error) { t.buried(f, err) })
			continue
		}
		if err := t.up.near.receive(link, wire.AppendAck(nil, f.kind, wire.V5, f.id, f.reason)); err != nil {
			fault(err)
		}
	}
	if len(verdict) > 0 {
		t.up.near.flush()
	}
}

// buried goes on with f when its dead letter is stored. If it cannot be, the
// message comes again on the next connection.
func (t *taker) buried(f frame, err error) {
	if err != nil {
		t.up.log.Error("uplink: a dead letter cannot be stored", "bridge", t.up.cfg.Name, "error", err)
		return
	}
	f.dead = nil
	t.up.buried.add(f.seq)
	t.mu.Lock()
	t.verdict = append(t.verdict, f)
	t.mu.Unlock()
	t.Flush()
}
