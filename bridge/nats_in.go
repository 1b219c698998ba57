package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/wire"
)

// natsIn is what comes in from NATS. It is acknowledged when this broker has
// stored it.
type natsIn struct {
	s        *natsSession
	consumer jetstream.Consumer // nil without JetStream
	subjects []string
	slots    chan struct{} // one for each message that is not answered
	shared   string        // the group that the consumer is for; empty: for this gateway

	order sync.Mutex      // held while messages are taken; guards what follows
	due   uint64          // number of the consumer's next delivery
	again []jetstream.Msg // have come again, and wait for the rest of them: the server sends them in any order
	left  int             // how many are yet to come again

	mu      sync.Mutex
	consume jetstream.ConsumeContext
	late    *time.Timer // sorts what has come again; nil before the first
	subs    []*nats.Subscription
	stopped bool
	open    map[uint16]func(wire.Reason)
	next    uint16
}

func newNatsIn(s *natsSession) *natsIn {
	return &natsIn{s: s, open: make(map[uint16]func(wire.Reason)), slots: make(chan struct{}, s.cfg.window()), subjects: s.up.rules().subjects(s.cfg.Events)}
}

// subjects are those from which messages may come in, none of which is part of
// another.
func (rs Rules) subjects(names EventNames) []string {
	var all []string
	for i := range rs {
		if rs[i].Direction&In != 0 {
			all = append(all, names.subjects(rs[i].remote())...)
		}
	}
	return widest(all)
}

// prepare makes the consumer what the rules say.
func (n *natsIn) prepare(ctx context.Context) error {
	s := n.s
	if len(n.subjects) == 0 || s.stream == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	n.shared = s.up.rules().groups()[0]
	name := s.cfg.Durable
	if name == "" {
		name = durableName(cmp.Or(n.shared, s.up.cfg.ClientID))
	}
	filters := n.subjects
	for i, a := range filters {
		if slices.ContainsFunc(filters[i+1:], func(b string) bool { return subjectsOverlap(a, b) }) {
			filters = nil // a consumer's may not overlap; what no rule lets in is passed over
			break
		}
	}
	c, err := s.stream.Consumer(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		c, err = s.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.up.cfg.AckTimeout,
			DeliverPolicy: jetstream.DeliverNewPolicy, MaxAckPending: s.cfg.window(), FilterSubjects: filters})
	case err == nil:
		conf := c.CachedInfo().Config
		have := conf.FilterSubjects
		if conf.FilterSubject != "" {
			have = []string{conf.FilterSubject}
		}
		if slices.Sort(have); !slices.Equal(have, filters) {
			conf.FilterSubject, conf.FilterSubjects = "", filters
			c, err = s.stream.UpdateConsumer(ctx, conf)
		}
	}
	if err != nil {
		return fmt.Errorf("consumer %q of stream %q: %w", name, s.cfg.Stream, err)
	}
	n.consumer = c
	return nil
}

// begin lets messages come.
func (n *natsIn) begin() error {
	s := n.s
	switch {
	case n.consumer != nil:
		s.tasks.Go(n.pull)
	case s.stream == nil:
		for _, group := range s.up.rules().groups() {
			if err := n.subscribe(group); err != nil {
				return err
			}
		}
	}
	return nil
}

// pull begins to take messages from the consumer.
func (n *natsIn) pull() {
	s := n.s
	if err := n.quiet(); err != nil {
		if s.ctx.Err() == nil {
			s.fail(fmt.Errorf("take messages in: %w", err))
		}
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	c, err := n.consumer.Consume(n.pulled, jetstream.PullMaxMessages(s.cfg.window()), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, nats.ErrNoResponders) {
			s.fail(fmt.Errorf("take messages in: %w", err))
			return
		}
		s.up.log.Debug("uplink: take messages in", "bridge", s.up.cfg.Name, "error", err)
	}))
	if err != nil {
		s.fail(fmt.Errorf("take messages in: %w", err))
		return
	}
	n.consume = c
	n.late = time.AfterFunc(n.consumer.CachedInfo().Config.AckWait, n.sort)
}

// quiet waits until nothing is under way to an earlier session. What that has
// been sent and has not acknowledged comes again after some time, and must not be
// overtaken meanwhile.
func (n *natsIn) quiet() error {
	if n.shared != "" { // others are sent messages, too, and nothing keeps their order
		return nil
	}
	for delivered, first := uint64(0), true; ; first = false {
		ctx, cancel := context.WithTimeout(n.s.ctx, apiTimeout)
		info, err := n.consumer.Info(ctx)
		cancel()
		if err != nil {
			return err
		}
		if info.NumAckPending == 0 || !first && info.Delivered.Consumer == delivered {
			n.order.Lock()
			n.due, n.left = info.Delivered.Consumer+1, info.NumAckPending
			n.order.Unlock()
			return nil
		}
		delivered = info.Delivered.Consumer
		timer := time.NewTimer(info.Config.AckWait)
		select {
		case <-n.s.ctx.Done():
			timer.Stop()
			return n.s.ctx.Err()
		case <-timer.C:
		}
	}
}

// refusedFor is how long a message that this broker cannot take now is kept
// by the stream before it comes again.
const refusedFor = 5 * time.Second

// pulled takes in what the consumer delivers. What it has delivered elsewhere
// meanwhile, to a connection that the server does not know to be dead, would be
// overtaken: then the session begins again, and waits for that.
func (n *natsIn) pulled(m jetstream.Msg) {
	if n.shared != "" {
		n.takeIn(m)
		return
	}
	n.order.Lock()
	defer n.order.Unlock()
	meta, err := m.Metadata()
	if err != nil || meta.Sequence.Consumer != n.due {
		n.s.fail(errors.New("an earlier connection was sent messages that this one must wait for"))
		n.due = 0 // so that nothing is taken any more
		return
	}
	n.due++
	if n.left > 0 && meta.NumDelivered > 1 {
		n.again = append(n.again, m)
		if n.left--; n.left == 0 {
			n.sortLocked()
		}
		return
	}
	n.sortLocked() // what is new comes after all that comes again
	n.takeIn(m)
}

// sort takes in what has come again, though not all of it has: the rest may
// have been acknowledged at the last moment.
func (n *natsIn) sort() {
	n.order.Lock()
	defer n.order.Unlock()
	n.sortLocked()
}

func (n *natsIn) sortLocked() {
	list := n.again
	n.again, n.left = nil, 0
	slices.SortFunc(list, func(a, b jetstream.Msg) int { return cmp.Compare(place(a), place(b)) })
	for _, m := range list {
		n.takeIn(m)
	}
}

// place is where m is in the stream.
func place(m jetstream.Msg) uint64 {
	meta, err := m.Metadata()
	if err != nil {
		return 0 // cannot be: pulled has looked at it
	}
	return meta.Sequence.Stream
}

func (n *natsIn) takeIn(m jetstream.Msg) {
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > 1 {
		n.s.up.counts.repeated.Add(1)
	}
	n.take(n.shared, m.Subject(), m.Headers(), m.Data(), func(r wire.Reason) {
		var err error
		switch {
		case r < wire.UnspecifiedError:
			err = m.Ack()
		case transient(r):
			err = m.NakWithDelay(refusedFor)
		default:
			err = m.TermWithReason(r.String())
		}
		if err != nil {
			n.s.up.log.Debug("uplink: answer a message that came in", "bridge", n.s.up.cfg.Name, "error", err)
		}
	})
}

// take takes in one message, which the group got, and answers it when it is known
// what becomes of it; a nil answer is for one that nobody waits to hear of.
func (n *natsIn) take(group, subject string, h nats.Header, data []byte, answer func(wire.Reason)) {
	u := n.s.up
	if answer == nil {
		answer = func(wire.Reason) {}
	}
	u.heard()
	if h.Get(headerGateway) == headerText(u.cfg.gateway()) { // it has come back from the stream
		answer(wire.Success)
		return
	}
	topic, err := n.s.cfg.Events.topic(subject)
	if err != nil {
		u.counts.refused.Add(1)
		u.complain("uplink: a message cannot come in", "subject", subject, "why", err.Error())
		answer(wire.TopicNameInvalid)
		return
	}
	topic, rule := u.rules().in(topic)
	if rule == nil || rule.Group != group {
		answer(wire.Success) // of no concern here
		return
	}
	u.counts.received.Add(1)
	u.counts.receivedBytes.Add(uint64(len(data)))
	if n.s.cfg.Events != NoEvents {
		if h, data, err = eventMessage(h, data); err != nil {
			u.counts.refused.Add(1)
			u.complain("uplink: a message cannot come in", "subject", subject, "why", err.Error())
			answer(wire.PayloadFormatInvalid)
			return
		}
	}
	out := publication(h, data, min(rule.QoS, 1))
	if u.cfg.seen(out.Props) {
		u.counts.loops.Add(1)
		answer(wire.Success)
		return
	}
	out.Topic, out.Retain = []byte(topic), out.Retain && rule.Retain && n.s.bucket == nil // which has what is retained
	var id uint16
	if out.QoS > 0 {
		if id = n.opened(answer); id == 0 {
			return // the session has ended
		}
	}
	if wire.PublishSize(&out) > wire.MaxFrameSize {
		err = errors.New("it is too large")
	} else {
		err = u.near.receive(n.s.out, wire.AppendPublish(nil, &out, id))
	}
	switch {
	case err != nil:
		u.counts.refused.Add(1)
		u.complain("uplink: a message cannot come in", "subject", subject, "why", err.Error())
		if id == 0 {
			answer(wire.TopicNameInvalid)
		}
		n.answered(id, wire.TopicNameInvalid)
	case id == 0:
		answer(wire.Success)
	}
	u.near.flush()
}

// opened gives a packet identifier to a message that answer is to be told
// about. It waits until there are few enough; 0 is that the session has ended.
func (n *natsIn) opened(answer func(wire.Reason)) uint16 {
	select {
	case n.slots <- struct{}{}:
	case <-n.s.ctx.Done():
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		n.next++
		if _, used := n.open[n.next]; !used && n.next != 0 {
			n.open[n.next] = answer
			return n.next
		}
	}
}

// answered passes on what this broker says of a message that came in.
func (n *natsIn) answered(id uint16, r wire.Reason) {
	n.mu.Lock()
	answer := n.open[id]
	delete(n.open, id)
	n.mu.Unlock()
	if answer != nil {
		answer(r)
		<-n.slots
	}
}

// stop lets no more messages come.
func (n *natsIn) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = true
	if n.consume != nil {
		n.consume.Stop()
		n.late.Stop()
	}
	for _, sub := range n.subs {
		_ = sub.Unsubscribe()
	}
	n.subs = nil
}

// drain is stop, except that what has come already is taken in.
func (n *natsIn) drain(wait time.Duration) {
	n.mu.Lock()
	n.stopped = true
	consume := n.consume
	n.mu.Unlock()
	if consume != nil {
		consume.Drain()
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-consume.Closed():
		case <-timer.C:
		}
	}
	n.stop()
	n.settle(wait)
}

// settle waits until all that came in has been answered, or for wait.
func (n *natsIn) settle(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for range cap(n.slots) {
		select {
		case n.slots <- struct{}{}:
		case <-timer.C:
			return
		}
	}
}
