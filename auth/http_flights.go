package auth

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"sync"
	"time"
)

type digest = [sha256.Size]byte

// flights asks each question once at a time, a bounded number of questions
// together, and remembers answers.
type flights struct {
	gate *gate // of questions

	mu      sync.Mutex
	closed  bool
	flying  map[digest]*flight
	allowed answers
	denied  answers // and ignored
	running sync.WaitGroup
}

// flight is a question that is being asked, or waits to be.
type flight struct {
	cancel  context.CancelFunc
	askers  int           // who wait for the answer, under flights.mu
	done    chan struct{} // closed when what follows is set
	answer  answer
	failure error
}

func newFlights(c HTTPConfig) *flights {
	return &flights{
		gate:    newGate(c.Parallel, c.Waiting),
		flying:  map[digest]*flight{},
		allowed: newAnswers(c.CacheEntries, c.AllowedFor),
		denied:  newAnswers(c.CacheEntries, c.DeniedFor),
	}
}

var errClosed = errors.New("HTTP source is closed")

// do returns the answer to the question q, which ask asks. The context of ask
// ends when nobody waits for its answer any more.
func (f *flights) do(ctx context.Context, q digest, from netip.Prefix, ask func(context.Context) (answer, error)) (answer, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return answer{}, errClosed
	}
	if a, found := f.remembered(q); found {
		f.mu.Unlock()
		return a, nil
	}
	fl := f.flying[q]
	if fl == nil {
		fl = f.launchLocked(q, from, ask)
	}
	fl.askers++
	f.mu.Unlock()

	select {
	case <-fl.done:
		return fl.answer, fl.failure
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		if fl.askers--; fl.askers == 0 {
			fl.cancel()
			if f.flying[q] == fl { // the next asker must not get its failure
				delete(f.flying, q)
			}
		}
		return answer{}, ctx.Err()
	}
}

func (f *flights) remembered(q digest) (answer, bool) {
	if a, found := f.allowed.get(q); found {
		return a, true
	}
	return f.denied.get(q)
}

// launchLocked begins to ask a question.
func (f *flights) launchLocked(q digest, from netip.Prefix, ask func(context.Context) (answer, error)) *flight {
	ctx, cancel := context.WithCancel(context.Background())
	fl := &flight{cancel: cancel, done: make(chan struct{})}
	f.flying[q] = fl
	f.running.Go(func() {
		defer cancel()
		a, err := f.fly(ctx, from, ask)
		f.mu.Lock()
		if f.flying[q] == fl {
			delete(f.flying, q)
		}
		if err == nil && a.Result == "allow" {
			f.allowed.put(q, a)
		} else if err == nil {
			f.denied.put(q, a)
		}
		f.mu.Unlock()
		fl.answer, fl.failure = a, err
		close(fl.done)
	})
	return fl
}

func (f *flights) fly(ctx context.Context, from netip.Prefix, ask func(context.Context) (answer, error)) (answer, error) {
	if err := f.gate.enter(ctx, from); err != nil {
		return answer{}, err
	}
	defer f.gate.leave()
	return ask(ctx)
}

func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.flying {
		fl.cancel()
	}
	f.mu.Unlock()
	f.running.Wait()
}

// answerBudget is how many bytes of answers a cache holds per entry, on average.
const answerBudget = 512

// answers is a bounded number of answers, of which the oldest goes first.
type answers struct {
	limit int
	keep  time.Duration
	size  int        // bytes of answers
	order *list.List // of *remembered, newest first
	byKey map[digest]*list.Element
}

type remembered struct {
	question digest
	answer   answer
	at       time.Time // with monotonic reading
}

func newAnswers(limit int, keep time.Duration) answers {
	return answers{limit: limit, keep: keep, order: list.New(), byKey: map[digest]*list.Element{}}
}

func (c *answers) get(q digest) (answer, bool) {
	e := c.byKey[q]
	if e == nil {
		return answer{}, false
	}
	r := e.Value.(*remembered)
	if time.Since(r.at) >= c.keep {
		c.remove(e)
		return answer{}, false
	}
	return r.answer, true
}

func (c *answers) put(q digest, a answer) {
	if c.keep == 0 {
		return
	}
	if e := c.byKey[q]; e != nil {
		c.remove(e)
	}
	c.byKey[q] = c.order.PushFront(&remembered{q, a, time.Now()})
	c.size += a.size
	for c.order.Len() > c.limit || c.size > c.limit*answerBudget {
		c.remove(c.order.Back())
	}
}

func (c *answers) remove(e *list.Element) {
	r := e.Value.(*remembered)
	delete(c.byKey, r.question)
	c.order.Remove(e)
	c.size -= r.answer.size
}
