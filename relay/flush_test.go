package relay_test

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
)

// A publisher that dies in the middle of a batch has promised to flush its
// targets. If nobody did it for him, they would get nothing any more.
func TestEndKeepsThePromiseToFlush(t *testing.T) {
	for qos := range byte(3) {
		b := newBroker(t, nil)
		sub, bad, good := b.connect("sub"), b.connect("bad"), b.connect("good")
		sub.sub(qos, "t")
		if err := bad.feed(bad.frame(message{topic: "t", payload: "before", qos: qos})); err != nil {
			t.Fatal(err)
		}
		bad.rejected(bad.frame(message{topic: "", alias: 999, payload: "bad"}))
		bad.end()
		if got := payloads(sub.take()); got != "before" {
			t.Errorf("QoS %d: got %q of what was received before the error; want \"before\"", qos, got)
		}
		good.pub(qos, "t=after")
		if got := payloads(sub.take()); got != "after" {
			t.Errorf("QoS %d: got %q from another publisher; want \"after\"", qos, got)
		}
	}
}

// The first messages of a batch may be sent to make room for the rest, which
// then cannot be sent: the first still must be flushed.
func TestRoomMadeWithinABatchIsFlushed(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.Queue.MaxQueued = 4 })
	sub, pub := b.connect("sub", receiveMaximum(4)), b.connect("pub")
	sub.sub(1, "t")
	var frames [][]byte
	for _, w := range numbered("t", 0, 8) {
		frames = append(frames, pub.frame(message{topic: "t", payload: w[2:], qos: 1}))
	}
	pub.send(frames...)
	if got := payloads(sub.settle()); got != "0 1 2 3 4 5 6 7" {
		t.Errorf("got %q; want all, in order", got)
	}
	sub.disconnect()
	b.empty()
}

// watched is a Link that calls back before it appends.
type watched struct {
	*link
	before func(frames []byte)
}

func (w *watched) Send(frames []byte) int { w.before(frames); return w.link.Send(frames) }

// QoS 0 that waited must be in the link before later QoS 0 may go there past
// the queue.
func TestWaitingQoS0IsNotOvertaken(t *testing.T) {
	b := newBroker(t, func(c *relay.Config) { c.MaxOutbound = 16 << 10 })
	sub, pub := b.open("sub"), b.connect("pub")
	var overtaking chan struct{}
	l := &watched{link: sub.link, before: func(frames []byte) {
		if overtaking != nil || !strings.Contains(string(frames), "waited") {
			return
		}
		overtaking = make(chan struct{})
		go func() {
			defer close(overtaking)
			pub.pub(0, "t=later")
		}()
		// The publisher either waits for the session, or passes it by.
		for range 1000 {
			select {
			case <-overtaking:
				return
			default:
				sub.link.Pending()
			}
		}
	}}
	sub.link.writable = sub.port.Writable
	sub.port.Attach(l)
	sub.port.Flush()
	sub.subscribe(relay.Subscription{Filter: "t", ID: 7}) // not plain: goes through the queue
	sub.subscribe(relay.Subscription{Filter: "t"})        // plain

	sub.link.stall(0)
	big := strings.Repeat("x", 5000)
	pub.pub(0, "t="+big, "t="+big, "t="+big, "t=waited")
	sub.link.grant(-1)
	<-overtaking
	if got := payloads(sub.take()); !strings.HasSuffix(got, "waited later") {
		t.Errorf("got %q; want \"waited\" before \"later\"", got)
	}
	sub.disconnect()
	b.empty()
}

var _ relay.Link = (*link)(nil)

// Bytes that only acknowledgements of a store have put there may have stopped
// a session; the flush that takes them away must set it going again.
func TestCommittedAnswersSetTheSessionGoing(t *testing.T) {
	s := &store{}
	b := openBroker(t, func(c *relay.Config) { c.MaxOutbound = 64 }, s)
	defer b.Close()
	sub, pub := b.open("sub"), b.connect("pub")
	var once bool
	l := &watched{link: sub.link, before: func([]byte) {}}
	sub.link.writable = sub.port.Writable
	sub.port.Attach(l)
	sub.port.Flush()
	sub.sub(1, "t")
	b.connect("away", kept).sub(1, "elsewhere") // what makes the answers wait for the store
	s.hold = true
	var acks [][]byte
	for range 20 {
		acks = append(acks, sub.frame(message{topic: "elsewhere", qos: 1}))
	}
	sub.send(acks...)
	sub.link.onFlush = func() {
		if !once && sub.link.Pending() > 64 {
			once = true
			pub.pub(1, "t=x") // finds the link full of answers
		}
	}
	s.release(nil)
	if got := payloads(sub.take()); got != "x" || !once {
		t.Errorf("got %q (raced: %v); want \"x\"", got, once)
	}
}
