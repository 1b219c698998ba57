package statsd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/events"
)

const (
	eventQueue      = 1024 // events that may wait for a reader
	minInterval     = 100 * time.Millisecond
	maxInterval     = time.Hour
	defaultInterval = time.Second
)

// streamContext returns a context that ends with the request or with the server.
func (s *Server) streamContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// streamStats sends a snapshot now and one every ?interval= (a duration such as
// 2s, 1s by default).
func (s *Server) streamStats(w http.ResponseWriter, r *http.Request) {
	interval := defaultInterval
	if text := r.URL.Query().Get("interval"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < minInterval || d > maxInterval {
			WriteError(w, http.StatusBadRequest, "interval is not a duration from 100ms to 1h", "use ?interval=2s")
			return
		}
		interval = d
	}
	ctx, cancel := s.streamContext(r)
	defer cancel()
	out, err := s.startLines(w, r)
	if err != nil {
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	beat := time.NewTicker(s.timing.heartbeat)
	defer beat.Stop()
	for {
		// Errors below mean that the client is gone.
		if out.snapshot(s.backend.Snapshot()) != nil || out.flush() != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				waiting = false
			case <-beat.C:
				if out.beat() != nil {
					return
				}
			}
		}
	}
}

// streamEvents sends the events that ?type= (repeated, or with commas),
// ?client= and ?topic= (a topic filter) let through. When events were lost
// because the reader is slow, a system event [events.SystemEventsMissed] says so. With
// ?since= or ?until= it sends recorded events and ends, or, with ?follow=true,
// goes on with those that happen. A Last-Event-ID header, as browsers send it
// when they come back, makes it go on behind that event, as far as events are
// recorded; what may be missing is said as above. Of the events that are left
// ?sample=N sends every Nth.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	filter, err := s.eventFilter(r)
	if err != nil {
		WriteError(w, http.StatusBadRequest, err.Error(), "use a topic filter such as plant/+/temp or plant/#")
		return
	}
	if filter.Keep, err = sampled(r); err != nil {
		WriteError(w, http.StatusBadRequest, err.Error(), "use ?sample=10 for every tenth")
		return
	}
	past, err := newHistory(r)
	if err != nil {
		WriteError(w, http.StatusBadRequest, err.Error(), "write it like 2026-03-01T12:00:00Z")
		return
	}
	if past != nil && past.last != "" && !past.follow {
		w.WriteHeader(http.StatusNoContent) // it had ended: a browser is to stop coming back
		return
	}
	ctx, cancel := s.streamContext(r)
	defer cancel()
	if past != nil && !past.follow {
		if out, err := s.startLines(w, r); err == nil && past.send(ctx, s.backend, filter, out) == nil {
			_ = out.flush() // the client may be gone
		}
		return
	}

	// The bus hands events over on a goroutine of its own; only this one writes.
	next := make(chan events.Event, 4) // beside the bus's queue, which is bounded in bytes
	unsubscribe, dropped := s.backend.Events(filter, eventQueue, func(e events.Event) {
		select {
		case next <- e:
		case <-ctx.Done():
		}
	})
	// Cancel first: unsubscribe waits for the function above.
	defer func() { cancel(); unsubscribe() }()

	// The header goes out once the subscription stands: a client that has seen
	// it misses nothing.
	out, err := s.startLines(w, r)
	if err != nil {
		return
	}
	if past != nil && (past.send(ctx, s.backend, filter, out) != nil || out.flush() != nil) {
		return
	}
	beat := time.NewTicker(s.timing.heartbeat)
	defer beat.Stop()
	missed := missedReporter{dropped: dropped}
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if out.beat() != nil {
				return
			}
		case e := <-next:
			if past.sent(e) {
				continue
			}
			if missed.report(out) != nil || out.event(e) != nil {
				return
			}
			if len(next) == 0 && out.flush() != nil {
				return
			}
		}
	}
}

// eventFilter reads the filter of an event stream from the query.
func (s *Server) eventFilter(r *http.Request) (events.Filter, error) {
	q := r.URL.Query()
	f := events.Filter{Client: q.Get("client"), Topic: q.Get("topic")}
	for _, list := range q["type"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				f.Types = append(f.Types, events.Type(name))
			}
		}
	}
	if f.Topic != "" && s.checkFilter != nil {
		if err := s.checkFilter(f.Topic); err != nil {
			return events.Filter{}, fmt.Errorf("topic is not a valid topic filter: %w", err)
		}
	}
	return f, nil
}

// sampled is the condition that ?sample=N makes; nil: none.
func sampled(r *http.Request) (func(*events.Event) bool, error) {
	q := r.URL.Query()
	text := q.Get("sample")
	if text == "" {
		return nil, nil
	}
	every, err := strconv.ParseUint(text, 10, 32)
	if err != nil || every == 0 {
		return nil, errors.New("sample is not a number from 1 on")
	}
	return events.EveryNth(every), nil
}

// missedReporter says in the stream itself when events were lost. It need not
// look while the stream is idle: behind a loss there is always a full queue, and
// so an event to come.
type missedReporter struct {
	dropped func() uint64
	told    uint64
}

func (m *missedReporter) report(out *lines) error {
	n := m.dropped()
	if n == m.told {
		return nil
	}
	lost := n - m.told
	m.told = n
	return out.remark(events.New(events.System, events.Source, events.SystemData{
		What:   events.SystemEventsMissed,
		Detail: fmt.Sprintf("%d events were lost because this stream is read too slowly", lost),
	}))
}
