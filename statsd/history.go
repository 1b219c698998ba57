package statsd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
)

// history is the part of an event stream that lies in the past.
type history struct {
	query  recorder.Query
	follow bool
	last   string          // the event behind which the stream goes on; "": it begins with query
	latest map[string]bool // identifiers of the events sent, the latest of them
	order  []string        // the same, oldest first
}

// maxOverlap is how many events can happen between the begin of a subscription
// and the end of the reading of what was recorded before.
const maxOverlap = eventQueue

// newHistory reads ?since=, ?until=, ?follow= and Last-Event-ID; nil if nothing
// of the past is asked for.
func newHistory(r *http.Request) (*history, error) {
	q := r.URL.Query()
	h := &history{latest: make(map[string]bool), last: r.Header.Get("Last-Event-ID")}
	asked := false
	for name, to := range map[string]*time.Time{"since": &h.query.Since, "until": &h.query.Until} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fmt.Errorf("%s is not a time", name)
		}
		*to, asked = t, true
	}
	if text := q.Get("follow"); text != "" {
		var err error
		if h.follow, err = strconv.ParseBool(text); err != nil {
			return nil, errors.New("follow is neither true nor false")
		}
	}
	switch {
	case !asked && h.last == "":
		return nil, nil
	case !asked:
		h.follow = true
	}
	return h, nil
}

// send writes what was recorded.
func (h *history) send(ctx context.Context, b Backend, f events.Filter, out *lines) error {
	q, behind := h.query, func(events.Event) bool { return true }
	if h.last != "" {
		var err error
		if q.Since, behind, err = h.resume(ctx, b, f, out); err != nil {
			return err
		}
	}
	return b.History(ctx, q, f, func(e events.Event) error {
		if !behind(e) {
			return nil
		}
		if h.follow {
			h.note(e.ID)
		}
		return out.event(e)
	})
}

// kept are the types of which the flight recorder keeps every event.
func kept() []events.Type {
	return []events.Type{events.Connection, events.Disconnection, events.Refusal, events.Slow, events.Bridge, events.System}
}

// errFound ends the search for an event.
var errFound = errors.New("found")

// resume finds the place behind the last event that the client has seen: the
// events from since on for which behind, asked in their order, is true. It says
// in the stream what may be missing.
func (h *history) resume(ctx context.Context, b Backend, f events.Filter, out *lines) (since time.Time, behind func(events.Event) bool, err error) {
	missed := func(why string) error {
		return out.remark(events.New(events.System, events.Source, events.SystemData{What: events.SystemEventsMissed, Detail: why}))
	}
	since, ok := events.TimeOfID(h.last)
	if !ok {
		err = missed("Last-Event-ID is none of this broker's, so nothing of what has happened before is here")
		return time.Time{}, func(events.Event) bool { return false }, err
	}
	found := false
	err = b.History(ctx, recorder.Query{Since: since}, events.Filter{}, func(e events.Event) error {
		if found = e.ID == h.last; found {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return since, nil, err
	}
	err = nil
	if !found {
		return since, func(e events.Event) bool { return e.ID > h.last }, missed("the event of Last-Event-ID is not recorded, so some that came after it may be missing")
	}
	unkept := func(t events.Type) bool { return !slices.Contains(kept(), t) }
	if len(f.Types) == 0 || slices.ContainsFunc(f.Types, unkept) {
		err = missed("messages, subscriptions and drops are not recorded one by one, so some that came after the event of Last-Event-ID may be missing")
	}
	seen := false
	return since, func(e events.Event) bool {
		if seen {
			return true
		}
		seen = e.ID == h.last
		return false
	}, err
}

func (h *history) note(id string) {
	h.latest[id] = true
	h.order = append(h.order, id)
	if len(h.order) > maxOverlap {
		delete(h.latest, h.order[0])
		h.order = h.order[1:]
	}
}

// sent reports whether e was sent as one of the past. A nil history has none.
func (h *history) sent(e events.Event) bool { return h != nil && h.latest[e.ID] }
