package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/relay"
)

// begin has the bucket and this broker come to agree, and stay so. What has
// changed here while there was no connection goes first: what comes in would
// undo it here, for a moment.
func (b *mirror) begin() {
	if b == nil {
		return
	}
	b.s.tasks.Go(func() {
		if !b.overtake() {
			return
		}
		if err := errors.Join(b.watch(), b.missing(b.lost())); err != nil && b.s.ctx.Err() == nil {
			b.s.fail(err)
			return
		}
		b.retry()
	})
}

// overtakeAfter is for how long the message may be on its way that says what
// waited before it has come; the queue may have dropped it.
const overtakeAfter = 30 * time.Second

// overtake waits until all that waited here when it was called has come, and
// reports false when the connection has ended.
func (b *mirror) overtake() bool {
	u := b.s.up
	mark := nats.NewInbox()
	b.mu.Lock()
	b.mark = mark
	b.mu.Unlock()
	for {
		if err := u.near.relay.Publish(relay.Outgoing{Topic: u.canary.local, Payload: []byte(mark), QoS: 1}, nil); err != nil {
			b.s.fail(err)
			return false
		}
		timer := time.NewTimer(overtakeAfter)
		select {
		case <-b.ended:
			timer.Stop()
			return true
		case <-b.s.ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// overtaken takes the message of overtake.
func (b *mirror) overtaken(mark []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mark != "" && string(mark) == b.mark {
		b.mark = ""
		close(b.ended)
	}
}

// watch lets what the bucket has, and what changes there, come in.
func (b *mirror) watch() error {
	var keys []string
	for _, r := range b.s.up.rules() {
		if r.Direction&In != 0 && r.Retain {
			keys = append(keys, filterKeys(r.remote())...)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(b.s.ctx, apiTimeout)
	defer cancel()
	c := jetstream.ConsumerConfig{Name: b.consumer(), AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		FilterSubjects: b.subjects(keys), InactiveThreshold: watchIdle, MemoryStorage: true, Replicas: 1}
	b.mu.Lock()
	if b.last > 0 {
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, b.last+1
	}
	b.mu.Unlock()
	if err := b.stream.DeleteConsumer(ctx, c.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return b.wrong(err)
	}
	consumer, err := b.stream.CreateConsumer(ctx, c)
	if err != nil {
		return b.wrong(err)
	}
	next := uint64(1)
	var busy atomic.Bool // with what has come, so that nothing else is looked at
	consume, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != next {
			b.s.fail(fmt.Errorf("watch bucket %q: something was missed", b.s.cfg.Retained))
			next = 0
			return
		}
		next++
		busy.Store(true)
		defer busy.Store(false)
		b.came(m, meta)
	}, jetstream.PullMaxMessages(b.s.cfg.window()), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if !errors.Is(err, jetstream.ErrNoHeartbeat) || !busy.Load() {
			b.s.fail(b.wrong(err))
		}
	}))
	if err != nil {
		return b.wrong(err)
	}
	b.mu.Lock()
	b.consume = consume
	over := b.over
	b.mu.Unlock()
	if over {
		consume.Stop()
	}
	return nil
}

// watchIdle is how long the consumer of a connection that has failed may stay.
const watchIdle = 5 * time.Minute

func (b *mirror) wrong(err error) error {
	return fmt.Errorf("watch bucket %q: %w", b.s.cfg.Retained, err)
}

// consumer is the name of that by which changes come.
func (b *mirror) consumer() string {
	return durableName(b.s.up.cfg.ClientID) + "-" + durableName(b.s.up.cfg.Name)
}

// subjects are those of keys, which may have wildcards, none of which has one in
// common with another.
func (b *mirror) subjects(keys []string) (list []string) {
	for _, k := range widest(keys) {
		list = append(list, b.stored+k)
	}
	for i, s := range list {
		if len(s) > maxBucketSubject || slices.ContainsFunc(list[i+1:], func(other string) bool { return subjectsOverlap(s, other) }) {
			return []string{b.stored + ">"} // what no rule lets in is passed over
		}
	}
	return list
}

// came takes a change of the bucket.
func (b *mirror) came(m jetstream.Msg, meta *jetstream.MsgMetadata) {
	u := b.s.up
	n, ok, err := b.there(m.Subject()[min(len(b.stored), len(m.Subject())):])
	if err != nil {
		u.counts.refused.Add(1)
		u.complain("uplink: a retained message cannot come in", "subject", m.Subject(), "why", err.Error())
	}
	if err != nil || !ok {
		b.mu.Lock()
		b.last = max(b.last, meta.Sequence.Stream)
		b.mu.Unlock()
		return
	}
	e := b.entry(meta.Sequence.Stream, meta.Timestamp, m.Headers(), m.Data(), b.clock())
	b.compare(n, &e)
}

// lost reports whether the queue of the session has lost something since this was
// last asked. That may have been a change that the bucket does not have.
func (b *mirror) lost() bool {
	info, _, _ := b.s.up.near.relay.Session(b.s.up.near.id)
	b.memory.mu.Lock()
	defer b.memory.mu.Unlock()
	yes := info.Lost != b.memory.lost
	b.memory.lost = info.Lost
	return yes
}

// missing looks at what is retained here and of which the bucket has nothing,
// not even a mark of deletion; or at all that is retained and may go out.
func (b *mirror) missing(all bool) error {
	rules := b.s.up.rules()
	var keys []string
	for i := range rules {
		if rules[i].mirrored() {
			keys = append(keys, filterKeys(rules[i].remote())...)
		}
	}
	have := make(map[string]bool)
	for _, subject := range b.subjects(keys) {
		ctx, cancel := context.WithTimeout(b.s.ctx, apiTimeout)
		info, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		cancel()
		if err != nil {
			return fmt.Errorf("list what bucket %q has: %w", b.s.cfg.Retained, err)
		}
		for s := range info.State.Subjects {
			have[s] = true
		}
	}
	for i := range rules {
		r := &rules[i]
		if !r.mirrored() {
			continue
		}
		for _, topic := range b.s.up.near.relay.KnownTopics(r.local()) {
			n, ok := b.ofTopic(topic)
			if ok && (all && n.out != nil || !have[b.stored+n.key]) && !b.compare(n, nil) {
				return nil
			}
		}
	}
	return nil
}

// mirrored reports whether what the bucket has by r is looked at by this
// connection, and not by that of a lane.
func (r *Rule) mirrored() bool { return r.Retain && (!r.Elsewhere || r.Direction&In != 0) }

// ofTopic names what is on topic here.
func (b *mirror) ofTopic(topic string) (n names, ok bool) {
	rules := b.s.up.rules()
	if remote, out := rules.out(topic); out != nil {
		return b.here(topic, remote, out), out.Retain
	}
	for i := range rules {
		r := &rules[i]
		rest, behind := strings.CutPrefix(topic, r.LocalPrefix)
		if !behind || r.Direction&In == 0 {
			continue
		}
		n, ok, _ = b.there(TopicKey(r.RemotePrefix + rest))
		if ok && n.local == topic {
			return n, true
		}
	}
	return n, false
}

// retry has this broker take what it has refused, later each time, and makes up
// for what its queue has dropped.
func (b *mirror) retry() {
	for wait := refusedFor; b.pause(wait); {
		if b.lost() {
			if err := b.missing(true); err != nil {
				b.s.fail(err)
				return
			}
		}
		b.mu.Lock()
		list := make([]names, 0, len(b.refused))
		for _, n := range b.refused {
			list = append(list, n)
		}
		b.mu.Unlock()
		if len(list) == 0 {
			wait = refusedFor
			continue
		}
		for _, n := range list {
			if !b.compare(n, nil) {
				return
			}
		}
		wait = min(2*wait, retryMost)
	}
}

// retryMost is how long this broker has, at most, until it is asked once more to
// take what it has refused.
const retryMost = 5 * time.Minute
