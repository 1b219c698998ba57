package statsd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/trace"
)

// traceEvent is the type of the server-sent events that are entries of a trace.
const traceEvent = "packet"

// streamTrace sends the packets that ?client=, ?topic= (a topic filter) and
// ?address= (an IP address or a prefix) let through, each repeated for
// alternatives, and of these ?type= only (repeated, or with commas); with
// ?payload=N that many bytes of payloads. When entries were lost because the
// reader is slow, one with what "missed" says so. It ends when the reader goes.
func (s *Server) streamTrace(w http.ResponseWriter, r *http.Request) {
	q, err := traceQuery(r.URL.Query())
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		WriteError(w, http.StatusBadRequest, err.Error(), "ask like /v1/trace?client=pump-7&payload=64")
		return
	}
	t, end, err := s.backend.Trace(q)
	switch {
	case errors.Is(err, trace.ErrTooMany):
		WriteError(w, http.StatusServiceUnavailable, err.Error(), "end one of the running ones first")
		return
	case err != nil:
		WriteError(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	defer end()
	ctx, cancel := s.streamContext(r)
	defer cancel()
	out, err := s.startLines(w, r)
	if err != nil {
		return
	}
	beat := time.NewTicker(s.timing.heartbeat)
	defer beat.Stop()
	for {
		// Errors below mean that the reader is gone.
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if out.beat() != nil {
				return
			}
		case <-t.Ready():
			for _, e := range t.Take() {
				if out.write(traceEvent, "", &e) != nil {
					return
				}
			}
			if out.flush() != nil {
				return
			}
		}
	}
}

// traceQuery reads what traceValues has written.
func traceQuery(v url.Values) (trace.Query, error) {
	q := trace.Query{Clients: v["client"], Topics: v["topic"]}
	for _, text := range v["address"] {
		a, err := trace.ParseAddress(text)
		if err != nil {
			return q, err
		}
		q.Addresses = append(q.Addresses, a)
	}
	for _, list := range v["type"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			t, err := trace.ParseType(name)
			if err != nil {
				return q, err
			}
			q.Types = append(q.Types, t)
		}
	}
	if text := v.Get("payload"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return q, fmt.Errorf("payload %q is not a number of bytes", text)
		}
		q.Payload = n
	}
	return q, nil
}

func traceValues(q trace.Query) url.Values {
	v := url.Values{}
	add := func(key string, values ...string) { v[key] = append(v[key], values...) }
	add("client", q.Clients...)
	add("topic", q.Topics...)
	for _, a := range q.Addresses {
		add("address", a.String())
	}
	for _, t := range q.Types {
		add("type", t.String())
	}
	if q.Payload != 0 {
		add("payload", strconv.Itoa(q.Payload))
	}
	return v
}

// Trace calls fn with what a trace shows, from the moment on at which the broker
// has said yes, which calls ready if that is not nil. It returns fn's error, or
// nil when the broker ends the stream. When this side is too slow, an entry with
// What trace.Missed says how many others were lost.
func (c *ControlClient) Trace(ctx context.Context, q trace.Query, ready func(), fn func(trace.Entry) error) error {
	return stream(ctx, c, "/v1/trace", traceValues(q), ready, fn)
}
