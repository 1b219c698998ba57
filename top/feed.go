package top

import (
	"context"
	"errors"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

const (
	retryAfter   = time.Second      // between two attempts to reach a broker
	recent       = 10 * time.Minute // how far back events are shown at first
	topicsWanted = 1000             // how many of the busiest topics are asked for
	listShare    = 4                // lists are asked for in at most 1/listShare of the time
	burst        = 200              // events that are told at once
)

// feed asks a broker, and tells what it has answered.
type feed struct {
	d    Daemon
	o    Options
	tell func(news any) // blocks until it is taken
}

// question is what list asks.
type question struct {
	tab, depth int
	order      string
}

var errSilent = errors.New("no answer in time")

// stats tells of counters until ctx ends, and of a broker that does not answer.
func (f *feed) stats(ctx context.Context) {
	for ctx.Err() == nil {
		bounded, cancel := context.WithCancelCause(ctx)
		patience := f.o.Patience + f.o.Interval
		watch := time.AfterFunc(patience, func() { cancel(errSilent) })
		err := f.d.StatsStream(bounded, f.o.Interval, func(s statsd.Snapshot) error {
			watch.Reset(patience)
			f.tell(counters{time.Now(), s})
			return bounded.Err()
		})
		watch.Stop()
		switch {
		case errors.Is(context.Cause(bounded), errSilent):
			err = errSilent
		case err == nil:
			err = errors.New("the daemon is stopping")
		}
		cancel(nil)
		f.tell(trouble{at: time.Now(), text: problemText(err), lost: true})
		wait(ctx, retryAfter)
	}
}

// lists answers questions until ctx ends. A broker with very many clients is asked
// less often.
func (f *feed) lists(ctx context.Context, questions <-chan question) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-questions:
			begun := time.Now()
			bounded, cancel := context.WithTimeout(ctx, f.o.Patience)
			news, err := list(bounded, f.d, q)
			cancel()
			took := time.Since(begun)
			if err != nil {
				news = trouble{at: time.Now(), text: problemText(err), tab: q.tab}
			}
			f.tell(news)
			if took > f.o.Interval/listShare {
				wait(ctx, (listShare-1)*took)
			}
		}
	}
}

// list asks for what a tab shows.
func list(ctx context.Context, d Daemon, q question) (any, error) {
	if q.tab == topicsTab {
		t, err := d.Topics(ctx, q.depth, q.order, topicsWanted)
		return topicList{time.Now(), t, q.depth, q.order}, err
	}
	c, err := d.Clients(ctx, "", 0)
	return clientList{time.Now(), c}, err
}

// quietTypes are the events that tell of more than a message that has passed.
func quietTypes() []events.Type {
	return []events.Type{events.Connection, events.Disconnection, events.Subscription, events.Unsubscription, events.Drop, events.Refusal,
		events.Slow, events.Bridge, events.System}
}

// happenings tells of events until ctx ends, of messages as well while the latest
// value of messages was true.
func (f *feed) happenings(ctx context.Context, messages <-chan bool) {
	loud := <-messages
	since := time.Now().Add(-recent)
	for ctx.Err() == nil {
		bounded, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.follow(bounded, since, loud)
		}()
	same:
		for {
			select {
			case next := <-messages:
				if next != loud {
					loud = next
					break same
				}
			case <-done:
				wait(ctx, retryAfter)
				break same
			}
		}
		since = time.Now()
		cancel()
		<-done
	}
}

// follow tells of events that were recorded since a time and then of those that
// happen, until ctx or the broker ends it.
func (f *feed) follow(ctx context.Context, since time.Time, loud bool) {
	filter := events.Filter{Types: quietTypes()}
	if loud {
		filter.Types = nil
	}
	queue := make(chan events.Event, burst)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range queue {
			news := happened{list: []events.Event{e}}
			for len(news.list) < burst && len(queue) > 0 {
				news.list = append(news.list, <-queue)
			}
			f.tell(news)
		}
	}()
	take := func(e events.Event) error {
		select {
		case queue <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := f.d.History(ctx, statsd.Past{Since: since, Follow: true}, filter, take)
	if refused := (*statsd.APIError)(nil); errors.As(err, &refused) { // it records nothing
		_ = f.d.Events(ctx, filter, nil, take) // that it has ended is told by stats
	}
	close(queue)
	<-done
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
