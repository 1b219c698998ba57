package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// readerKind is how a reader behaves while there is something to read.
type readerKind byte

const (
	steady readerKind = iota
	away              // comes and goes; its session is kept
	slow              // does not read at times, and then all the more
	member            // of a shared subscription
)

// poll is how long a reader waits before it looks whether it is done.
const poll = 50 * time.Millisecond

// reader is a client that has subscribed to a line, or to all: -1.
type reader struct {
	*crowd
	id      string
	kind    readerKind
	line    int
	connect wire.Connect
	link    *link
	rng     *rand.Rand
	tally   *ReaderTally
	last    map[stream]uint64
}

// stream is messages that keep their order.
type stream struct {
	publisher string
	qos       byte
}

// subscribeAll makes 7 readers for each 20 clients.
func (c *crowd) subscribeAll() (list []*reader, err error) {
	for i := range c.Clients / 20 {
		line := i % crowdLines
		for j, k := range []struct {
			kind    readerKind
			line    int
			qos     byte
			version wire.Version
		}{
			{steady, line, 0, wire.V311}, {steady, -1, 2, wire.V5}, {away, line, 1, wire.V311}, {away, line, 2, wire.V5},
			{slow, line, byte(i % 2), wire.V5}, {member, line, 1, wire.V5}, {member, line, 2, wire.V311},
		} {
			r := &reader{crowd: c, id: fmt.Sprintf("reader-%d-%d", i, j), kind: k.kind, line: k.line, tally: &ReaderTally{},
				rng: rand.New(rand.NewPCG(c.Seed, uint64(1_000_000+i*100+j))), last: map[stream]uint64{}}
			if r.connect = Clean(k.version, r.id); k.kind == away {
				r.connect = Kept(k.version, r.id)
			}
			if err := r.begin(k.qos); err != nil {
				return list, named(r.id, err)
			}
			list = append(list, r)
		}
	}
	return list, nil
}

func (r *reader) filter() (filter, group string) {
	filter = crowdRoot + "/lines/#"
	if r.line >= 0 {
		filter = fmt.Sprintf("%s/lines/%d/#", crowdRoot, r.line)
	}
	if r.kind == member {
		group = fmt.Sprint("$share/group", r.line, "/", filter)
		filter = group
	}
	return filter, group
}

func (r *reader) begin(qos byte) error {
	if err := r.arrive(); err != nil {
		return err
	}
	filter, group := r.filter()
	granted, err := r.link.subscribe(wire.Filter{Filter: filter, QoS: qos})
	if err != nil || granted[0] != wire.Reason(qos) {
		return fmt.Errorf("subscribe to %s: %v, %v", filter, granted, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crowd.tally.Readers[r.id] = r.tally
	if group != "" {
		r.members[group] = append(r.members[group], r.id)
	}
	return nil
}

// arrive connects.
func (r *reader) arrive() error {
	l, _, err := openLink(r.Addr, &r.connect)
	if err != nil {
		return err
	}
	l.autoAck = true
	r.link = l
	r.count(func(t *CrowdTally) { t.Connects++ })
	return nil
}

// leave disconnects, and takes what comes until the end.
func (r *reader) leave() error {
	r.link.autoAck, r.link.patience = false, Patience
	if err := r.link.disconnect(); err != nil {
		return err
	}
	r.count(func(t *CrowdTally) { t.Disconnects[ReasonNormal]++ })
	for _, f := range r.link.pending {
		if err := r.take(f); err != nil {
			return err
		}
	}
	return nil
}

// read behaves as its kind does while live, reads on until finish, and then
// what is left.
func (r *reader) read(ctx, live context.Context, finish <-chan struct{}) error {
	for live.Err() == nil {
		if err := r.readFor(live, r.between(100, 600)); err != nil {
			return err
		}
		var err error
		switch r.kind {
		case away:
			err = r.stayAway(live)
		case slow:
			err = r.stall(live)
		}
		if err != nil {
			return err
		}
	}
	for waiting := true; waiting; {
		select {
		case <-finish:
			waiting = false
		case <-ctx.Done():
			return ctx.Err()
		default:
			if err := r.readFor(ctx, poll); err != nil {
				return err
			}
		}
	}
	return r.finish(ctx)
}

func (r *reader) between(from, to int) time.Duration {
	return time.Duration(from+r.rng.IntN(to-from)) * time.Millisecond
}

// finish reads until there is an account of all messages, and goes.
func (r *reader) finish(ctx context.Context) error {
	for until := time.Now().Add(Patience); ; {
		if err := r.readFor(ctx, poll); err != nil {
			return err
		}
		meant, known, err := r.account()
		if err != nil {
			return err
		}
		if known >= meant {
			break
		}
		if time.Now().After(until) {
			return fmt.Errorf("%d messages were meant for it, and there is an account of %d", meant, known)
		}
	}
	r.link.patience = Patience
	if err := r.link.ping(); err != nil { // all acknowledgements are there
		return err
	}
	if err := r.leave(); err != nil {
		return err
	}
	lost, err := r.Lost(r.id)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.Lost = lost
	return err
}

// account is how many messages were meant for the reader or for its group, and
// of how many it is known what became of them.
func (r *reader) account() (meant, known uint64, err error) {
	ids := []string{r.id}
	r.mu.Lock()
	meant = r.tally.Meant
	if _, group := r.filter(); group != "" {
		ids = r.members[group]
	}
	for _, id := range ids {
		known += r.crowd.tally.Readers[id].Got
	}
	r.mu.Unlock()
	for _, id := range ids {
		lost, err := r.Lost(id)
		if err != nil {
			return meant, known, err
		}
		known += lost
	}
	return meant, known, nil
}

// stayAway leaves for a while.
func (r *reader) stayAway(live context.Context) error {
	if err := r.leave(); err != nil {
		return err
	}
	r.pause(live, r.between(200, 1500))
	return r.arrive()
}

// stall does not read until messages are lost for it, or for 20 seconds.
func (r *reader) stall(live context.Context) error {
	before, err := r.Lost(r.id)
	for tries := 0; tries < 200 && err == nil && live.Err() == nil; tries++ {
		r.pause(live, 100*time.Millisecond)
		var now uint64
		if now, err = r.Lost(r.id); now > before {
			break
		}
	}
	return err
}

func (r *reader) pause(live context.Context, d time.Duration) {
	r.tally.Pauses++
	wait(live, d)
}

func wait(live context.Context, d time.Duration) {
	select {
	case <-live.Done():
	case <-time.After(d):
	}
}

// readFor takes what comes meanwhile.
func (r *reader) readFor(ctx context.Context, d time.Duration) error {
	r.link.patience = poll
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		f, err := r.link.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err == nil {
			err = r.take(f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take counts a message. Those of one publisher and QoS come in order; what
// comes again says so.
func (r *reader) take(f wire.Frame) error {
	if f.Type != wire.PUBLISH {
		return nil
	}
	d, err := wire.DecodeDelivery(f, r.link.version)
	if err != nil {
		return err
	}
	publisher, number, _ := bytes.Cut(d.Payload, []byte(" "))
	digits, _, _ := bytes.Cut(number, []byte(" "))
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return fmt.Errorf("payload %.40q: %w", d.Payload, err)
	}
	of := stream{string(publisher), d.QoS}
	again := n <= r.last[of]
	if again && !d.Dup {
		return fmt.Errorf("%s: message %d at QoS %d came after %d", publisher, n, d.QoS, r.last[of])
	}
	r.last[of] = max(n, r.last[of])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crowd.tally.Delivered.add(d.QoS, d.Payload)
	if again {
		r.tally.Again++
	} else {
		r.tally.Got++
	}
	return nil
}
