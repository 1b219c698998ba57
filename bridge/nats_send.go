package bridge

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/synthetism/edgebroker/wire"
)

// nextLocked takes what may be sent now, and the lanes about which the stream is
// to be asked.
func (o *natsOut) nextLocked() (batch []departure, asks []*lane) {
	batch, o.loose = o.loose, nil
	for _, d := range batch {
		o.departedLocked(d.parcel)
	}
	most := 1
	if o.s.cfg.OnlyWriter {
		most = o.s.cfg.window()
	}
	for _, l := range o.ready {
		l.listed = false
		switch {
		case l.rests, l.ask && l.flying > 0:
		case len(l.queue) == 0:
			if l.key != "" {
				delete(o.lanes, l.key)
			}
		case l.ask:
			l.rests = true
			asks = append(asks, l)
		default:
			batch = o.departLocked(batch, l, most)
		}
	}
	o.ready = o.ready[:0]
	return batch, asks
}

// departLocked adds what may be sent of a lane.
func (o *natsOut) departLocked(batch []departure, l *lane, most int) []departure {
	for _, p := range l.queue {
		if l.flying >= most {
			break
		}
		if p.token != 0 {
			continue
		}
		o.token++
		p.token, p.at = o.token, o.s.up.now()
		o.flying[p.token] = p
		l.flying++
		d := departure{parcel: p, token: p.token, again: p.sent}
		if o.s.cfg.OnlyWriter {
			d.after, o.last = o.last, p.id
		}
		o.departedLocked(p)
		batch = append(batch, d)
	}
	return batch
}

// departedLocked notes that p does not wait here any more.
func (o *natsOut) departedLocked(p *parcel) {
	if !p.sent {
		p.sent = true
		o.unsent -= len(p.Message.Payload)
	}
}

// publish sends batch. Without JetStream there are no answers: what the server
// has read is done with.
func (o *natsOut) publish(batch []departure) {
	if len(batch) == 0 {
		return
	}
	read := false
	for i := range batch {
		d := &batch[i]
		switch err := o.send(d); {
		case err == nil:
			read = read || d.token == 0 && d.QoS > 0
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, errUnfit):
			d.refused = true
			o.mu.Lock()
			o.arrivedLocked(d.parcel)
			o.judgeLocked(d.Delivery, wire.ImplementationError, strings.TrimPrefix(err.Error(), "nats: "))
			o.haltLocked(d.lane)
			o.mu.Unlock()
		default:
			o.s.fail(err)
			return
		}
	}
	if read {
		begun := o.s.up.now()
		if err := o.s.nc.FlushTimeout(o.s.up.cfg.AckTimeout); err != nil {
			o.s.fail(err)
			return
		}
		o.s.up.tripped(begun)
		o.read(batch)
	}
	o.s.up.near.writable()
}

// read settles what the server has read and nobody else answers.
func (o *natsOut) read(batch []departure) {
	o.s.up.heard()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range batch {
		if d.token == 0 && d.QoS > 0 && !d.refused {
			o.s.up.counts.acked.Add(1)
			o.settleLocked(d.Delivery, wire.Success)
		}
	}
}

var errUnfit = errors.New("its properties cannot be read")

// send publishes d.
func (o *natsOut) send(d *departure) error {
	u := o.s.up
	h, err := headers(u.cfg.gateway(), d.Delivery, d.retain, u.cfg.mark(d.Message.Props), time.Now())
	if err != nil {
		return errUnfit
	}
	m := &nats.Msg{Subject: d.subject, Header: h, Data: d.Message.Payload}
	if o.s.cfg.Events != NoEvents {
		var added string
		if m.Data, added, err = eventBody(u.cfg.gateway(), d.topic, d.id, d.Delivery, d.retain, u.sentAt(d.Message, time.Now())); err != nil {
			return errUnfit
		}
		if added != "" {
			h[headerAdded] = []string{added}
		}
	}
	if d.id != "" {
		h[headerID] = []string{d.id}
	}
	if d.token != 0 {
		m.Reply = o.prefix + strconv.FormatUint(d.token, 10)
		h[headerStream] = []string{o.s.cfg.Stream}
		if d.after != "" {
			h[headerAfter] = []string{d.after}
		}
	}
	if err := o.s.nc.PublishMsg(m); err != nil {
		return err
	}
	u.counts.sent.Add(1)
	u.counts.sentBytes.Add(uint64(len(d.Message.Payload)))
	if d.Dup || d.again {
		u.counts.retried.Add(1)
	}
	return nil
}
