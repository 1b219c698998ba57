package bridge

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// What a bucket says of a value that it does not take, besides what streams say.
const (
	changedMeanwhile  = jetstream.JSErrCodeStreamWrongLastSequence
	changedMeanwhileR = jetstream.JSErrCodeStreamWrongLastSequenceConstant // with replicas
	noExpiry          = 10166
)

// settle goes on with a until the bucket and this broker agree, as far as rules
// let them. It reports false when the connection ends before, or this broker does
// not take what it should.
func (b *mirror) settle(a *affair) (done bool) {
	u := b.s.up
	defer func() {
		if a.stuck && b.s.ctx.Err() == nil {
			b.stalled("")
		}
	}()
	e, known := b.remembered(a)
	for b.s.ctx.Err() == nil {
		now := b.clock()
		has, err := b.local(a, now)
		l := has
		if !has.made && a.last.Message != nil {
			l, err = b.latest(a, now)
		}
		if err != nil {
			b.refuse(a.names, a.waits, l.known.Payload, err.Error())
			return true
		}
		if !known {
			if e, err = b.get(a.key); err != nil {
				b.s.fail(err)
				return false
			}
			known = true
			continue // what is here may have changed meanwhile
		}
		j := judgement{here: l, there: e, changed: a.last.Message != nil}
		j.after, j.before = b.order(a, &e, &l)
		j.mayTake = a.in != nil && (!e.own || a.out != nil)
		j.mayPut = a.out != nil && (!l.made || !u.cfg.seen(l.known.Props)) // or it has gone round in a circle
		switch j.step() {
		case rest:
			if !e.whole && len(a.waits) > 0 { // that was some time ago
				known = false
				continue
			}
			if j.agree() {
				b.saw(a, e, now)
			}
			b.acknowledged(a.waits)
			return true
		case bring:
			if !e.whole && e.rev > 0 {
				known = false
				continue
			}
			if as := (judgement{here: has, there: e}); as.agree() {
				b.saw(a, e, now)
				b.acknowledged(a.waits)
				return true
			}
			if !e.own && u.cfg.seen(publication(e.header, nil, 0).Props) {
				u.counts.loops.Add(1)
				b.acknowledged(a.waits)
				return true
			}
			b.acknowledged(a.waits) // it was overtaken
			a.waits = nil
			return b.bring(a, e)
		case put:
			published := j.published(now.Add(-time.Since(u.started)))
			rev, err := b.put(a, &l, e.rev, published)
			switch {
			case err == nil:
				b.saw(a, bucketEntry{rev: rev, own: true, gone: !l.has, stamp: published, expires: l.expires, digest: l.digest}, now)
				b.acknowledged(a.waits)
				return true
			case !b.failed(a, &l, err):
				return b.s.ctx.Err() == nil
			}
			known = false
		}
	}
	return false
}

// published is when what is here was, or was removed; before is what counts where
// that is not known.
func (j *judgement) published(before time.Time) time.Time {
	stamp := j.here.stamp
	if stamp.IsZero() {
		stamp = before
	}
	if !stamp.After(j.there.stamp) { // which it takes the place of
		stamp = j.there.stamp.Add(time.Microsecond)
	}
	return stamp
}

// remembered is what is known of the bucket at the key of a, without asking it.
func (b *mirror) remembered(a *affair) (e bucketEntry, known bool) {
	if a.look && a.news == nil { // nothing has come that would say that it has changed
		return e, false
	}
	s, have := b.memory.sighting(a)
	if a.news != nil && (!have || a.news.rev > s.rev || a.news.rev == s.rev && !s.whole) {
		return *a.news, true
	}
	return s.bucketEntry, have
}

// order says what is known of the order of e and what is here. after: e was here
// before that was published. before: the bucket had what is here before it had e,
// so that whoever has put e there has known it.
func (b *mirror) order(a *affair, e *bucketEntry, l *bucketLocal) (after, before bool) {
	s, have := b.memory.sighting(a)
	if !have || l.stamp.IsZero() {
		return false, false
	}
	later := l.stamp.After(b.base.Add(s.at.Sub(b.began)))
	return later && e.rev <= s.rev, !later && e.rev > s.rev
}

// sighting is when the bucket and this broker had the same the last time.
func (m *mirrorMemory) sighting(a *affair) (s sighting, have bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, have = m.seen[a.id()]
	return s, have
}

// saw notes what the bucket has, and that this broker had the same when it was
// looked at, by the clock of the NATS system.
func (b *mirror) saw(a *affair, e bucketEntry, looked time.Time) {
	e.whole, e.header, e.data = false, nil, nil
	b.mu.Lock()
	delete(b.refused, a.id())
	b.mu.Unlock()
	m := b.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.seen) >= maxSightings {
		clear(m.seen)
	}
	m.seen[a.id()] = sighting{e, b.began.Add(looked.Sub(b.base))}
}

// put has the bucket take what is here in place of revision rev.
func (b *mirror) put(a *affair, l *bucketLocal, rev uint64, published time.Time) (uint64, error) {
	u := b.s.up
	if len(b.target)+len(a.key) > maxBucketSubject {
		return 0, errLongKey
	}
	var d relay.Delivery
	if l.has {
		d = message(&l.known, a.out.QoS)
	} else {
		d.Message = &relay.Message{}
	}
	h, err := headers(u.cfg.gateway(), d, l.has, u.cfg.mark(d.Message.Props), time.Now())
	if err != nil {
		return 0, errUnfit
	}
	h[headerPublished] = []string{published.UTC().Format(time.RFC3339Nano)}
	h[headerStream] = []string{b.name}
	h[headerAfterSeq] = []string{strconv.FormatUint(rev, 10)}
	if d.Expiry > 0 { // however long it takes until it is stored
		h[headerExpires] = []string{l.expires.UTC().Format(time.RFC3339Nano)}
	}
	b.mu.Lock()
	ttl := b.ttl && d.Expiry > 0
	b.mu.Unlock()
	if ttl {
		h[headerTTL] = []string{strconv.FormatUint(uint64(d.Expiry), 10) + "s"}
	}
	if !l.has {
		delete(h, headerQoS)
		h[headerOperation] = []string{"DEL"}
	}
	ctx, cancel := context.WithTimeout(b.s.ctx, u.cfg.AckTimeout)
	defer cancel()
	begun := u.now()
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: b.target + a.key, Header: h, Data: d.Message.Payload}, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	u.counts.sent.Add(1)
	u.counts.sentBytes.Add(uint64(len(d.Message.Payload)))
	u.heard()
	u.tripped(begun)
	return ack.Sequence, nil
}

var errLongKey = errors.New("its topic is too long for a key")

// failed looks at why the bucket has not taken what is here, and reports whether
// it may do so yet. It waits if that needs time.
func (b *mirror) failed(a *affair, l *bucketLocal, err error) (again bool) {
	u := b.s.up
	var api jetstream.JetStreamError
	code := jetstream.ErrorCode(0)
	if errors.As(err, &api) && api.APIError() != nil {
		code = api.APIError().ErrorCode
	}
	switch {
	case b.s.ctx.Err() != nil:
		return false
	case code == changedMeanwhile, code == changedMeanwhileR:
		return true
	case code == noExpiry:
		b.mu.Lock()
		b.ttl = false
		b.mu.Unlock()
		return true
	case code == tooLarge, errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, errUnfit), errors.Is(err, errLongKey):
		b.refuse(a.names, a.waits, l.known.Payload, natsText(err))
		return false
	case errors.Is(err, context.DeadlineExceeded):
		b.s.fail(errors.New("the far side has not answered about a message for " + u.cfg.AckTimeout.String()))
		return false
	case code == 0 && !errors.Is(err, jetstream.ErrNoStreamResponse):
		b.s.fail(err)
		return false
	}
	if !a.stuck {
		a.stuck = true
		b.stalled("the bucket does not take a value for now: " + natsText(err))
	}
	u.calm.down()
	wait := max(u.cfg.Backoff.Min, u.calm.next())
	u.calm.up()
	return b.pause(wait)
}

// stalled says that the bucket does not take something for now; why is empty when
// it has.
func (b *mirror) stalled(why string) {
	o := b.s.out
	o.mu.Lock()
	if why != "" {
		o.stalledLocked(why)
	} else {
		o.movesLocked()
	}
	o.mu.Unlock()
	o.Flush()
}

// natsText is what err says.
func natsText(err error) string {
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil {
		return api.APIError().Description
	}
	return natsWording(err)
}

// pause waits; it reports false when the connection has ended.
func (b *mirror) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-b.s.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// bring has this broker take e, and reports whether it has. What it refuses is
// tried again.
func (b *mirror) bring(a *affair, e bucketEntry) bool {
	u, in := b.s.up, b.s.in
	u.heard()
	u.counts.received.Add(1)
	u.counts.receivedBytes.Add(uint64(len(e.data)))
	out := e.publish(a.local, a.in, b.clock())
	said := make(chan wire.Reason, 1)
	var id uint16
	if out.QoS > 0 {
		if id = in.opened(func(r wire.Reason) { said <- r }); id == 0 {
			return false
		}
	}
	err := errors.New("it is too large")
	if wire.PublishSize(&out) <= wire.MaxFrameSize {
		err = u.near.receive(b.s.out, wire.AppendPublish(nil, &out, id))
	}
	u.near.flush()
	reason := wire.Success
	if err != nil {
		in.answered(id, wire.ImplementationError)
	} else if id > 0 {
		select {
		case reason = <-said:
		case <-b.s.ctx.Done():
			return false
		}
	}
	now := b.clock()
	l, unfit := b.local(a, now)
	j := judgement{here: l, there: e}
	switch taken := err == nil && reason < wire.UnspecifiedError; {
	case taken && (unfit == nil && j.agree() || l.made): // or it has changed here once more, which will be looked at
		b.saw(a, e, now)
		return true
	case err == nil:
		err = errors.New(reason.String())
	}
	u.counts.refused.Add(1)
	u.complain("uplink: a retained message cannot come in", "topic", a.local, "why", err.Error())
	b.mu.Lock()
	b.refused[a.id()] = a.names
	b.mu.Unlock()
	return false
}
