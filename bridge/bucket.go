package bridge

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// mirror keeps what is retained here and in a key-value bucket of the NATS
// system the same, for one connection. Each topic that something is to be done
// about has an affair, and one goroutine at a time that sees to it.
type mirror struct {
	s      *natsSession
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string // of the stream
	stored string // what subjects in the stream begin with, before the key
	target string // what subjects to publish on begin with
	memory *mirrorMemory
	ended  chan struct{} // of the message that tells what waited before this connection has come; see overtake
	slots  chan struct{} // for goroutines that are at work
	comes  chan struct{} // for affairs that are not begun by messages that wait here

	base  time.Time // what the NATS system's clock said at began
	began time.Time

	mu      sync.Mutex // guards what follows
	over    bool
	ttl     bool // the server removes what has expired
	affairs map[string]*affair
	refused map[string]names  // what this broker has not taken
	open    map[string]uint64 // the first revision that has come and is not done with, by key
	last    uint64            // the last revision that has come
	mark    string            // of overtake
	consume jetstream.ConsumeContext
}

// names are what one thing is called in different places.
type names struct {
	key, remote, local string
	in, out            *Rule // nil: it may not pass
}

// id tells affairs apart: what comes in may have another topic here than what
// goes out to the same key.
func (n *names) id() string { return n.key + " " + n.local }

// affair is a topic that something is to be done about.
type affair struct {
	names
	waits  []parcel       // what clients have published, to be answered
	last   relay.Delivery // the last of these that was published; of no message if there is none
	since  time.Time      // when, by the clock of the NATS system, or later; zero: that is not known
	news   *bucketEntry   // the newest that has come
	look   bool           // both are to be compared
	places int            // of comes that it holds
	works  bool
	stuck  bool // the bucket does not take it for now
}

// sighting is what the bucket had at a key when it was last known.
type sighting struct {
	bucketEntry
	at time.Time // when this broker had the same
}

// maxSightings is how many of them are kept: without one, the bucket is asked.
const maxSightings = 4096

// maxBucketSubject is how many bytes the subject of a key may have: the server
// ends connections on which a line is longer than 4096.
const maxBucketSubject = 3072

// mirrorMemory is what a bucket of one connection leaves to that of the next.
type mirrorMemory struct {
	seed maphash.Seed // of digests; valid once the first connection has begun

	mu      sync.Mutex // guards what follows
	seen    map[string]sighting
	created time.Time // of the stream; zero: nothing is known
	done    uint64    // all revisions up to this one are done with
	lost    uint64    // messages, by the queue of the session
}

// JetStream's name for the stream of a bucket, and for what is in it.
const (
	bucketStream   = "KV_"
	bucketSubjects = "$KV."
)

var (
	errNoBucket = errors.New("bucket not found")
	errMirror   = errors.New("it is a copy of another bucket, and takes nothing; name that one")
)

// openMirror finds the bucket.
func openMirror(ctx context.Context, s *natsSession, memory *mirrorMemory) (*mirror, error) {
	c := s.cfg
	b := &mirror{s: s, name: bucketStream + c.Retained, stored: bucketSubjects + c.Retained + ".", memory: memory,
		slots: make(chan struct{}, c.window()), comes: make(chan struct{}, c.window()), ended: make(chan struct{}),
		affairs: make(map[string]*affair), refused: make(map[string]names), open: make(map[string]uint64)}
	b.target = b.stored
	if c.Domain != "" {
		b.target = c.api() + "." + b.stored
	}
	var err error
	if b.js, err = c.jetStream(s.nc); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	asked := time.Now()
	if b.stream, err = b.js.Stream(ctx, b.name); err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = errNoBucket
		}
		return nil, fmt.Errorf("bucket %q: %w", c.Retained, err)
	}
	info := b.stream.CachedInfo()
	if info.Config.Mirror != nil {
		return nil, fmt.Errorf("bucket %q: %w", c.Retained, errMirror)
	}
	b.began, b.base = time.Now(), info.TimeStamp.Add(time.Since(asked)/2)
	if info.TimeStamp.IsZero() { // a server of earlier days
		b.base = b.began
	}
	b.ttl = expiresValues(info.Config)
	b.last = memory.resume(info)
	return b, nil
}

// expiresValues reports whether the server removes values that have expired,
// and nothing older shows up instead.
func expiresValues(c jetstream.StreamConfig) bool { return c.AllowMsgTTL && c.MaxMsgsPerSubject == 1 }

// resume is the revision up to which nothing needs to come again; 0: all is to
// come.
func (m *mirrorMemory) resume(info *jetstream.StreamInfo) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seed = maphash.MakeSeed()
	}
	if m.seen == nil || !info.Created.Equal(m.created) || m.done > info.State.LastSeq {
		m.created, m.done, m.seen = info.Created, 0, make(map[string]sighting)
	}
	return m.done
}

// clock is that of the NATS system.
func (b *mirror) clock() time.Time { return b.base.Add(time.Since(b.began)) }

// end lets nothing new begin, and remembers how far it has got.
func (b *mirror) end() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.consume != nil {
		b.consume.Stop()
	}
	done := b.last
	for _, rev := range b.open {
		done = min(done, rev-1)
	}
	b.memory.mu.Lock()
	b.memory.done = done
	b.memory.mu.Unlock()
}

// here names what is called remote on the far side, to where out lets it go.
func (b *mirror) here(local, remote string, out *Rule) names {
	n := names{key: TopicKey(remote), remote: remote, local: local, out: out}
	if back, in := b.s.up.rules().in(remote); in != nil && in.Retain && back == local {
		n.in = in
	}
	return n
}

// there names what the bucket has at key; ok is false if it may not come in.
func (b *mirror) there(key string) (n names, ok bool, err error) {
	remote, err := KeyTopic(key)
	if err != nil {
		return n, false, err
	}
	rules := b.s.up.rules()
	local, in := rules.in(remote)
	if in == nil || !in.Retain {
		return n, false, nil
	}
	if len(local) > maxTopic {
		return n, false, errLongTopic
	}
	n = names{key: key, remote: remote, local: local, in: in}
	if called, out := rules.out(local); out != nil && out.Retain && called == remote {
		n.out = out
	}
	return n, true, nil
}

var errLongTopic = errors.New("its topic is too long here")

// take sees to it that the bucket has what p, which rule lets go, has changed. It
// is called with the lock of natsOut held.
func (b *mirror) take(p *parcel, rule *Rule) {
	u := b.s.up
	var since time.Time
	age, known := u.near.relay.RetainedAge(p.Message)
	if !known {
		age = time.Since(u.started) // or longer
	}
	if known || !p.Dup { // else it may have been in the bucket long ago, and something else since
		since = b.clock().Add(-age)
	}
	b.touch(b.here(strings.TrimPrefix(p.Message.Topic, u.dead.again), p.topic, rule), func(a *affair) {
		a.waits = append(a.waits, *p)
		if p.Delivery.Retain { // else it is a dead letter, which is sent again
			a.last, a.since = p.Delivery, since
		}
	})
}

// touch begins with an affair, or changes it.
func (b *mirror) touch(n names, change func(*affair)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	a := b.affairs[n.id()]
	if a == nil {
		a = &affair{names: n}
		b.affairs[n.id()] = a
	}
	change(a)
	if !a.works {
		a.works = true
		b.s.tasks.Go(func() { b.work(a) })
	}
}

// compare has an affair begin when there are few enough. It reports false when
// the connection has ended.
func (b *mirror) compare(n names, news *bucketEntry) bool {
	select {
	case b.comes <- struct{}{}:
	case <-b.s.ctx.Done():
		return false
	}
	b.touch(n, func(a *affair) {
		a.places++
		a.look = true
		if news == nil {
			return
		}
		b.last = max(b.last, news.rev)
		if b.open[n.key] == 0 {
			b.open[n.key] = news.rev
		}
		if a.news == nil || a.news.rev < news.rev {
			a.news = news
		}
	})
	return true
}

// work sees to a until nothing is to be done about it.
func (b *mirror) work(a *affair) {
	select {
	case b.slots <- struct{}{}:
	case <-b.s.ctx.Done():
		return
	}
	defer func() { <-b.slots }()
	for {
		b.mu.Lock()
		if b.over {
			b.mu.Unlock()
			return
		}
		if len(a.waits) == 0 && !a.look {
			delete(b.affairs, a.id())
			b.mu.Unlock()
			return
		}
		do := *a
		a.waits, a.last, a.since, a.news, a.look, a.places = nil, relay.Delivery{}, time.Time{}, nil, false, 0
		b.mu.Unlock()

		done := b.settle(&do)

		b.mu.Lock()
		if done && a.news == nil {
			delete(b.open, a.key)
		}
		b.mu.Unlock()
		for range do.places {
			<-b.comes
		}
		if b.s.ctx.Err() != nil {
			return
		}
	}
}

// answer tells the session here what becomes of what has waited.
func (b *mirror) answer(waits []parcel, say func(o *natsOut, p *parcel)) {
	if len(waits) == 0 {
		return
	}
	o := b.s.out
	o.mu.Lock()
	for i := range waits {
		o.departedLocked(&waits[i])
		say(o, &waits[i])
	}
	o.mu.Unlock()
	o.Flush()
	b.s.up.near.writable()
}

// acknowledged says that the bucket has what waits, or something newer.
func (b *mirror) acknowledged(waits []parcel) {
	b.answer(waits, func(o *natsOut, p *parcel) {
		if p.QoS > 0 {
			b.s.up.counts.acked.Add(1)
		}
		o.settleLocked(p.Delivery, wire.Success)
	})
}

// refuse gives up what waits: what the bucket refuses, which is payload, becomes a
// dead letter.
func (b *mirror) refuse(n names, waits []parcel, payload []byte, why string) {
	if len(waits) == 0 {
		b.s.up.complain("uplink: the bucket cannot have a retained message", "topic", n.local, "why", why)
		return
	}
	b.answer(waits, func(o *natsOut, p *parcel) {
		if !slices.Equal(p.Message.Payload, payload) { // what came after it has taken its place
			o.settleLocked(p.Delivery, wire.Success)
			return
		}
		d := p.Delivery
		d.Message = &relay.Message{Topic: d.Message.Topic, Payload: d.Message.Payload, Publisher: d.Message.Publisher, QoS: d.Message.QoS,
			Props: wire.AppendUserProperty(slices.Clone(d.Message.Props), wire.UserProperty{Key: deadRetained, Value: "1"})}
		o.judgeLocked(d, wire.ImplementationError, why)
	})
}

// deadRetained is the user property of dead letters that were meant for the
// bucket. When one is sent again, the bucket gets what is retained by then.
const deadRetained = "edgebroker-retained"

// forBucket reports whether d, which rule lets pass, goes to the bucket instead of a subject.
func (s *natsSession) forBucket(d relay.Delivery, rule *Rule) bool {
	if s.bucket == nil || !rule.Retain {
		return false
	}
	if d.Retain {
		return true
	}
	if !strings.HasPrefix(d.Message.Topic, s.up.dead.again) {
		return false
	}
	for key := range wire.UserProperties(d.Message.Props) {
		if string(key) == deadRetained {
			return true
		}
	}
	return false
}
