package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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
	conn   *conn
	opts   *Options
	base   time.Time
	index  uint32
	of     int // number of publishers
	frames *batch
	window *window
	size   int       // messages on their way at most
	acks   *position // nil for QoS 0
}

func newPublisher(r *run, c *conn, index uint32, topic string) *publisher {
	o := &r.opts
	p := &publisher{conn: c, opts: o, base: r.base, index: index, window: newWindow()}
	p.of, _ = o.counts()
	p.size = o.Window
	if o.Rate > 0 {
		p.size = openWindow
	}
	if o.QoS > 0 {
		p.acks = p.window.newPosition()
		// A broker may allow fewer unacknowledged publishes [MQTT-3.3.4-7].
		if limit := int(c.connack.ReceiveMaximum); limit > 0 {
			p.size = min(p.size, limit)
		}
	}
	p.frames = newBatch(max(1, min(p.size/2, 256)), o.Version, o.QoS, topic, o.Payload, index)
	return p
}

// run sends until Count is reached or ctx ends. Ending with the cause
// errStopped is no error.
func (p *publisher) run(ctx context.Context, start time.Time) error {
	var err error
	if p.opts.Rate > 0 {
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
		n := min(uint64(p.frames.cap()), p.left(sent))
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
		for i := range n {
			p.frames.set(int(i), uint32(sent+i), now)
		}
		if err := p.send(sent, n); err != nil {
			return err
		}
		sent += n
	}
}

// runOpen sends what the schedule says is due. A write that blocks delays
// only this publisher, and what has become due meanwhile follows at once with
// its scheduled times.
func (p *publisher) runOpen(ctx context.Context, start time.Time) error {
	plan := newSchedule(p.opts.Rate)
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
		k := min(n, uint64(p.frames.cap()))
		if room := sent + k; p.acks != nil && room > uint64(p.size) {
			if err := p.window.await(ctx, room-uint64(p.size)); err != nil {
				return err
			}
		}
		for i := range k {
			p.frames.set(int(i), uint32(sent+i), at)
		}
		if err := p.send(sent, k); err != nil {
			return err
		}
		sent, n = sent+k, n-k
	}
	return nil
}

// send writes the first n frames of the batch and counts them.
func (p *publisher) send(sent, n uint64) error {
	// Counted first: an arrival may not overtake the count.
	p.window.sent.Store(sent + n)
	return p.conn.write(p.frames.bytes(int(n)))
}

// readAcks follows the acknowledgements, which must come in the order of the
// publishes [MQTT-4.6.0-2] [MQTT-4.6.0-3], and releases QoS 2 messages.
func (p *publisher) readAcks() error {
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
			if p.acks != nil {
				p.acks.advance(uint64(acked))
			}
			if err := p.conn.fill(); err != nil {
				return quiet(err)
			}
			continue
		}
		switch {
		case f.Type == wire.PUBACK && p.opts.QoS == 1, f.Type == wire.PUBCOMP && p.opts.QoS == 2:
			err = p.ack(f, acked)
			acked++
		case f.Type == wire.PUBREC && p.opts.QoS == 2:
			err = p.ack(f, received)
			out = wire.AppendAck(out, wire.PUBREL, p.conn.version, packetID(received), wire.Success)
			received++
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
