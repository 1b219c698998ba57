package relay

import (
	"sync"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// scratch buffers for frames that are encoded under a session's lock.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

const maxScratch = 64 << 10

func putScratch(b *[]byte) {
	if cap(*b) <= maxScratch {
		*b = (*b)[:0]
		scratch.Put(b)
	}
}

// writer gathers frames for a link. The lock of the session is held from
// writerLocked to done.
type writer struct {
	session *Session
	link    Link
	buf     []byte
	scratch *[]byte // that buf was made of
	pending int     // what the link had waiting when it was asked last, or somewhat more
	clock   time.Duration
	popped0 int32  // QoS 0 taken from the queue
	seq     uint64 // of the last kept message that was sent for the first time
	charged int64  // bytes of messages that wait to be acknowledged now

	// Of the messages in buf: how many, by QoS, and the sum of their payloads.
	n     [3]int
	bytes int
}

func (s *Session) writerLocked(l *live) writer {
	b := scratch.Get().(*[]byte)
	return writer{session: s, link: l.link, buf: *b, scratch: b, pending: l.link.Pending()}
}

// done hands on what has been gathered, and accounts for it.
func (w *writer) done() {
	s := w.session
	w.flush()
	if w.popped0 > 0 {
		s.queued0.Add(-w.popped0)
	}
	if w.charged != 0 {
		s.relay.queuedBytes.Add(w.charged)
	}
	if w.seq > s.seen {
		s.seen = w.seq
		s.recordLocked(Change{Kind: Sent, Seq: w.seq})
	}
	*w.scratch = w.buf
	putScratch(w.scratch)
}

// now is the time when the writer was first asked for it: to read the clock takes
// as long as to encode a message or two.
func (w *writer) now() time.Duration {
	if w.clock == 0 {
		w.clock = max(1, w.session.relay.now())
	}
	return w.clock
}

// waiting is how many bytes wait to be taken by the peer, or somewhat more.
func (w *writer) waiting() int { return len(w.buf) + w.pending }

// waitingNow is exact.
func (w *writer) waitingNow() int {
	w.pending = w.link.Pending()
	return w.waiting()
}

func (w *writer) publish(o *wire.Out, id uint16) {
	if len(o.Payload) < sharedBodyMin {
		w.buf = wire.AppendPublish(w.buf, o, id)
		w.gathered(o.QoS, len(o.Payload))
		return
	}
	w.flush()
	w.buf = wire.AppendPublishHead(w.buf, o, id)
	w.note(o.QoS, len(o.Payload))
	w.told(w.link.SendShared(w.buf, o.Payload))
	w.buf = w.buf[:0]
}

// plain is publish of what wire.AppendPlainPublish can encode.
func (w *writer) plain(v wire.Version, d *delivery, id uint16) {
	w.buf = wire.AppendPlainPublish(w.buf, v, d.qos, d.retain, id, d.msg.name, d.msg.Payload)
	w.gathered(d.qos, len(d.msg.Payload))
}

// note counts a message whose frame buf has.
func (w *writer) note(qos byte, payload int) {
	w.n[qos]++
	w.bytes += payload
}

// gathered is note, and hands on what is much.
func (w *writer) gathered(qos byte, payload int) {
	w.note(qos, payload)
	if len(w.buf) > maxScratch/2 {
		w.flush()
	}
}

func (w *writer) flush() {
	if len(w.buf) > 0 {
		w.told(w.link.Send(w.buf))
		w.buf = w.buf[:0]
	}
}

// told counts what was in buf as sent if the link has taken it, of which so many
// bytes wait there. Else the connection has ended: QoS 0 is lost, and the rest sent
// on the next one.
func (w *writer) told(pending int) {
	s := w.session
	if w.pending = pending; pending > 0 {
		s.sent.addAll(w.n, w.bytes)
		s.books.sent += uint64(w.n[0])
	} else if w.n[0] > 0 {
		s.dropLocked(DropQoS0, origin{}, w.n[0])
	}
	w.n, w.bytes = [3]int{}, 0
}
