package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// errStopped is the cause that tells publishers to send no more.
var errStopped = errors.New("stopped")

// openWindow bounds what an open-loop publisher above QoS 0 has on its way, so
// that no packet id is in use twice. Reaching it delays sending; the delay
// counts as latency, since that starts at the scheduled time.
const openWindow = 1 << 15

// publisher sends one stream of messages.
type publisher struct {
	pubPlan
	conn   *conn       // nil if paho is not
	paho   *pahoSender // nil if conn is not
	opts   *Options
	base   time.Time
	index  uint32
	of     int // number of publishers
	frames *batch
	first  *batch // what introduces topic aliases goes before; nil if none are used
	window *window
	size   int       // messages on their way at most
	acks   *position // nil for QoS 0

	// Without subscribers the acknowledgement is where a message arrives.
	timing  *timing       // nil with subscribers
	written *position     // QoS 0 without subscribers: what the kernel has taken
	pinging atomic.Bool   // the broker has been asked whether it has read everything
	ponged  chan struct{} // closed when it has answered
}

// newPublisher publishes on c or, if that is nil, by paho.
func newPublisher(r *run, c *conn, paho *pahoClient, index uint32, plan pubPlan) (*publisher, error) {
	o := &r.opts
	p := &publisher{pubPlan: plan, conn: c, opts: o, base: r.base, index: index, of: len(r.plan.publishers), window: newWindow(), ponged: make(chan struct{})}
	p.size = o.Window
	if p.rate > 0 {
		p.size = openWindow
	}
	switch {
	case c == nil:
		p.paho = newPahoSender(paho, plan, o, index)
	case p.qos > 0:
		p.acks = p.window.newPosition()
		// A broker may allow fewer unacknowledged publishes [MQTT-3.3.4-7].
		if limit := int(c.connack.ReceiveMaximum); limit > 0 {
			p.size = min(p.size, limit)
		}
		if !o.Scenario.verified() {
			p.timing = newTiming(p.size, r.recorders[int(index)%len(r.recorders)], &r.recordAt)
		}
	case !o.Scenario.verified():
		p.written = p.window.newPosition()
		p.size = math.MaxInt // nobody tells how far the broker has come
	}
	spec := frameSpec{
		version: o.Version, qos: p.qos, retain: p.retain, base: p.pubPlan.base, topics: p.topics,
		aliased: o.Aliases, props: userProperties(o.UserProperties), payload: o.Payload, publisher: index,
	}
	n := max(1, min(p.size/2, 256, maxBatch/o.Payload))
	p.frames = newBatch(n, spec)
	if o.Aliases {
		if limit := int(c.connack.TopicAliasMaximum); limit < p.topics {
			return nil, fmt.Errorf("%s: the broker takes %d topic aliases of a client, and each publisher has %d topics; choose fewer topics, or leave out aliases", c.name, limit, p.topics)
		}
		spec.aliased, spec.introduce = false, true
		p.first = newBatch(min(n, p.topics), spec)
	}
	return p, nil
}

// maxBatch bounds the bytes of a batch, where messages are large.
const maxBatch = 4 << 20

// batch is the frames that message sent is of, and how many from it on.
func (p *publisher) batch(sent uint64) (b *batch, n uint64) {
	if topics := uint64(p.topics); p.first != nil && sent < topics {
		return p.first, min(uint64(p.first.cap()), topics-sent)
	}
	return p.frames, uint64(p.frames.cap())
}

// run sends until Count is reached or ctx ends. Ending with the cause
// errStopped is no error.
func (p *publisher) run(ctx context.Context, start time.Time) error {
	var err error
	if p.rate > 0 {
		err = p.runOpen(ctx, start)
	} else {
		err = p.runClosed(ctx)
	}
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// left is how many messages remain to be sent of Count, or of the range that
// sequence numbers have.
func (p *publisher) left(sent uint64) uint64 {
	limit := p.opts.Count
	if limit == 0 {
		limit = math.MaxUint32
	}
	return limit - sent
}

// runClosed keeps the window full, half a window at a time.
func (p *publisher) runClosed(ctx context.Context) error {
	sent := uint64(0)
	for {
		b, n := p.batch(sent)
		n = min(n, p.left(sent))
		if n == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if room := sent + n; room > uint64(p.size) {
			if err := p.window.await(ctx, room-uint64(p.size)); err != nil {
				return err
			}
		}
		now := int64(time.Since(p.base))
		if err := p.send(b, sent, n, now); err != nil {
			return err
		}
		sent += n
	}
}

// runOpen sends what the schedule says is due. A write that blocks delays
// only this publisher, and what has become due meanwhile follows at once with
// its scheduled times.
func (p *publisher) runOpen(ctx context.Context, start time.Time) error {
	plan := newSchedule(p.rate)
	// Publishers are spread over one interval.
	start = start.Add(plan.tick * time.Duration(p.index) / time.Duration(p.of))
	clock, err := newTicker(start, plan.tick)
	if err != nil {
		return fmt.Errorf("start the send clock: %w", err)
	}
	defer clock.close()
	release := context.AfterFunc(ctx, clock.close)
	defer release()
	first := int64(start.Sub(p.base))
	sent, ticks := uint64(0), uint64(0)
	for {
		passed, err := clock.wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("wait for the send clock: %w", err)
		}
		for range passed {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			at := first + int64(plan.tick)*int64(ticks)
			ticks++
			due := min(plan.due(ticks)-sent, p.left(sent))
			if err := p.sendDue(ctx, sent, due, at); err != nil {
				return err
			}
			sent += due
			if p.left(sent) == 0 {
				return nil
			}
		}
	}
}

// sendDue sends n messages with the scheduled time at.
func (p *publisher) sendDue(ctx context.Context, sent, n uint64, at int64) error {
	for n > 0 {
		b, k := p.batch(sent)
		k = min(n, k)
		if room := sent + k; p.acks != nil && room > uint64(p.size) {
			if err := p.window.await(ctx, room-uint64(p.size)); err != nil {
				return err
			}
		}
		if err := p.send(b, sent, k, at); err != nil {
			return err
		}
		sent, n = sent+k, n-k
	}
	return nil
}

// send writes n messages from number sent on as frames of b, with the time at,
// and counts them.
func (p *publisher) send(b *batch, sent, n uint64, at int64) error {
	for i := range n {
		b.set(int(i), uint32(sent+i), at)
	}
	if p.timing != nil {
		p.timing.sent(sent, n, at)
	}
	// Counted first: an arrival may not overtake the count.
	p.window.sent.Store(sent + n)
	if p.paho != nil {
		return p.sendPaho(sent, n, at)
	}
	err := p.conn.write(b.bytes(int(n)))
	if err == nil && p.written != nil {
		p.written.advance(sent + n)
	}
	return err
}

// sendPaho is send message by message.
func (p *publisher) sendPaho(sent, n uint64, at int64) error {
	for i := range n {
		if p.rate == 0 {
			at = int64(time.Since(p.base)) // those before have taken their time
		}
		if err := p.paho.send(uint32(sent+i), at); err != nil {
			return err
		}
	}
	return nil
}

// end is the connection.
func (p *publisher) end() end {
	if p.paho != nil {
		return p.paho
	}
	return p.conn
}

// settle returns when the broker has read all that was sent to nobody at QoS 0,
// for which there is no other sign: a PINGRESP.
func (p *publisher) settle(ctx context.Context) error {
	if p.written == nil {
		return nil
	}
	p.pinging.Store(true)
	if err := p.conn.write(wire.AppendPing(nil, wire.PINGREQ)); err != nil {
		return quiet(err)
	}
	select {
	case <-p.ponged:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readAcks follows the acknowledgements, which must come in the order of the
// publishes [MQTT-4.6.0-2] [MQTT-4.6.0-3], and releases QoS 2 messages.
func (p *publisher) readAcks() error {
	if p.paho != nil {
		return p.paho.ended()
	}
	var acked, received uint32
	var out []byte
	for {
		f, ok, err := p.conn.next()
		if err != nil {
			return err
		}
		if !ok {
			if len(out) > 0 {
				if err := p.conn.write(out); err != nil {
					return quiet(err)
				}
				out = out[:0]
			}
			if p.timing != nil {
				p.timing.arrived(uint64(acked), time.Since(p.base))
			}
			if p.acks != nil {
				p.acks.advance(uint64(acked))
			}
			if err := p.conn.fill(); err != nil {
				return quiet(err)
			}
			continue
		}
		switch {
		case f.Type == wire.PUBACK && p.qos == 1, f.Type == wire.PUBCOMP && p.qos == 2:
			err = p.ack(f, acked)
			acked++
		case f.Type == wire.PUBREC && p.qos == 2:
			err = p.ack(f, received)
			out = wire.AppendAck(out, wire.PUBREL, p.conn.version, packetID(received), wire.Success)
			received++
		case f.Type == wire.PINGRESP && p.pinging.CompareAndSwap(true, false):
			close(p.ponged)
		default:
			err = p.conn.unexpected(f)
		}
		if err != nil {
			return err
		}
	}
}

// ack checks that f acknowledges message seq.
func (p *publisher) ack(f wire.Frame, seq uint32) error {
	id, reason, err := wire.DecodeAck(f, p.conn.version)
	switch {
	case err != nil:
		return fmt.Errorf("%s: acknowledgement: %w", p.conn.name, err)
	case reason >= wire.UnspecifiedError:
		return fmt.Errorf("%s: broker refused a publish: %v", p.conn.name, reason)
	case id != packetID(seq):
		return fmt.Errorf("%s: broker sent %v for packet %d instead of %d", p.conn.name, f.Type, id, packetID(seq))
	case uint64(seq) >= p.window.sent.Load():
		return fmt.Errorf("%s: broker sent %v for packet %d, which was not sent", p.conn.name, f.Type, id)
	}
	return nil
}

// quiet turns the end of the run into no error.
func quiet(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
