package bridge

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/wire"
)

// What a stream says of a message that it does not take. All else may be better
// later.
const (
	tooLarge    = 10054 // for this stream
	otherStream = 10060 // has the subject
)

// replied takes what the far side says of a message.
func (o *natsOut) replied(m *nats.Msg) {
	u := o.s.up
	u.heard()
	token, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, o.prefix), 10, 64)
	if err != nil {
		return
	}
	var answer struct {
		jetstream.PubAck
		Error *jetstream.APIError `json:"error"`
	}
	none := len(m.Data) == 0 && m.Header.Get("Status") == "503"
	if !none {
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return // it counts as no answer
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.flying[token]
	if p == nil || o.over {
		return
	}
	defer o.Flush()
	defer o.haltLocked(p.lane)
	switch e := answer.Error; {
	case none:
		o.failedLocked(p, errNoStream.Error())
	case e == nil:
		u.tripped(p.at)
		if answer.Duplicate {
			u.counts.duplicates.Add(1)
		}
		o.doneLocked(p)
	case e.ErrorCode == tooLarge:
		o.arrivedLocked(p)
		o.judgeLocked(p.Delivery, wire.ImplementationError, e.Description)
	case e.ErrorCode == otherStream:
		o.arrivedLocked(p)
		o.judgeLocked(p.Delivery, wire.NotAuthorized, "another stream takes it: "+e.Description)
	default:
		o.failedLocked(p, e.Description)
	}
}

// landedLocked takes p out of the air.
func (o *natsOut) landedLocked(p *parcel) {
	if p.token != 0 {
		delete(o.flying, p.token)
		p.token = 0
		p.lane.flying--
	}
}

// arrivedLocked takes p out of its lane, if it has one: it is done with.
func (o *natsOut) arrivedLocked(p *parcel) {
	o.landedLocked(p)
	l := p.lane
	if l == nil {
		return
	}
	if i := slices.Index(l.queue, p); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	o.departedLocked(p)
	if l.stuck {
		l.stuck = false
		o.movesLocked()
	}
	o.readyLocked(l)
}

// doneLocked settles a message that the stream has.
func (o *natsOut) doneLocked(p *parcel) {
	o.arrivedLocked(p)
	if p.QoS > 0 {
		o.s.up.counts.acked.Add(1)
		o.settleLocked(p.Delivery, wire.Success)
	}
}

// failedLocked goes back to p, which the stream has not taken for now. Its lane
// goes on when all that is on its way has been answered, some time has passed,
// and the stream has been asked.
func (o *natsOut) failedLocked(p *parcel, why string) {
	o.landedLocked(p)
	l := p.lane
	l.ask = true
	if why == errNoStream.Error() && !covers(o.s.stream.CachedInfo().Config.Subjects, p.subject) {
		p.doubt = true
		return
	}
	if !l.stuck {
		l.stuck = true
		o.stalledLocked("the far side does not take a message for now: " + why)
	}
}

// stalledLocked notes that something does not get on, until movesLocked.
func (o *natsOut) stalledLocked(why string) {
	if o.stuck++; o.stuck == 1 {
		o.jobs = append(o.jobs, func() { o.s.up.become(Stalled, why) })
	}
}

func (o *natsOut) movesLocked() {
	if o.stuck--; o.stuck == 0 {
		o.jobs = append(o.jobs, func() { o.s.up.become(Up, "") })
	}
}

// haltLocked lets a lane rest that something of has failed, as soon as
// everything on its way has been answered; longer each time. A lane that waits
// for nothing but a question does not rest.
func (o *natsOut) haltLocked(l *lane) {
	if l == nil || !l.ask || l.rests || l.flying > 0 {
		return
	}
	if len(l.queue) == 0 || l.queue[0].doubt {
		o.readyLocked(l)
		return
	}
	u := o.s.up
	u.calm.down()
	wait := max(u.cfg.Backoff.Min, u.calm.next())
	u.calm.up()
	l.rests = true
	o.s.tasks.Go(func() {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-o.gone:
			return
		case <-timer.C:
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		l.rests = false
		o.readyLocked(l)
		o.Flush()
	})
}

// question asks the stream what it has of a lane that rests, and lets it go on
// from there.
func (o *natsOut) question(l *lane) {
	o.mu.Lock()
	if len(l.queue) == 0 || o.over {
		l.rests = false
		o.readyLocked(l)
		o.mu.Unlock()
		return
	}
	first := l.queue[0]
	o.mu.Unlock()

	id, err := o.s.lastID(l.key)
	taken := true
	if err == nil && first.doubt {
		taken, err = o.s.takes(first.subject)
	}
	if err != nil {
		o.s.fail(err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l.ask, l.rests = false, false
	stored := slices.IndexFunc(l.queue, func(p *parcel) bool { return p.id == id })
	for _, p := range slices.Clone(l.queue[:stored+1]) {
		o.doneLocked(p)
	}
	if stored < 0 && !taken {
		o.arrivedLocked(first)
		o.judgeLocked(first.Delivery, wire.NotAuthorized, "stream "+strconv.Quote(o.s.cfg.Stream)+" does not take its subject")
	}
	first.doubt = false
	if l.key == "" {
		o.last = id
	}
	o.readyLocked(l)
	o.Flush()
}
