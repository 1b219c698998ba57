package statsd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
)

// history is the part of an event stream that lies in the past.
type history struct {
	query  recorder.Query
	follow bool
	latest map[string]bool // identifiers of the events sent, the latest of them
	order  []string        // the same, oldest first
}

// maxOverlap is how many events can happen between the begin of a subscription
// and the end of the reading of what was recorded before.
const maxOverlap = eventQueue

// newHistory reads ?since=, ?until= and ?follow=; nil if nothing of the past is
// asked for.
func newHistory(q url.Values) (*history, error) {
	h := &history{latest: make(map[string]bool)}
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
	if !asked {
		return nil, nil
	}
	return h, nil
}

// send writes what was recorded.
func (h *history) send(ctx context.Context, b Backend, f events.Filter, out *lines) error {
	return b.History(ctx, h.query, f, func(e events.Event) error {
		if h.follow {
			h.note(e.ID)
		}
		return out.write(e)
	})
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
