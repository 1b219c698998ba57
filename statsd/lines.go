package statsd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/synthetism/edgebroker/events"
)

// EventStream is the media type by which a client asks, in its Accept header,
// for streams in the form of server-sent events instead of JSON lines.
const EventStream = "text/event-stream"

// statsEvent is the type of the server-sent events that are snapshots.
const statsEvent = "stats"

// lines writes a stream of JSON values: one on each line or, for browsers, each
// as a server-sent event.
type lines struct {
	s   *Server
	w   http.ResponseWriter
	rc  *http.ResponseController
	sse bool
	buf bytes.Buffer
}

// wantsEvents reports whether the client takes server-sent events.
func wantsEvents(r *http.Request) bool {
	for _, list := range r.Header["Accept"] {
		for kind := range strings.SplitSeq(list, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			if strings.EqualFold(strings.TrimSpace(kind), EventStream) {
				return true
			}
		}
	}
	return false
}

// startLines sends the header, so that the client knows at once that the stream
// has begun.
func (s *Server) startLines(w http.ResponseWriter, r *http.Request) (*lines, error) {
	l := &lines{s: s, w: w, rc: http.NewResponseController(w), sse: wantsEvents(r)}
	h := w.Header()
	h.Set("Content-Type", "application/jsonl")
	if l.sse {
		h.Set("Content-Type", EventStream)
	}
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return l, l.flush()
}

// snapshot adds a snapshot. Like what follows it may stay in a buffer until
// flush.
func (l *lines) snapshot(s Snapshot) error { return l.write(statsEvent, "", s) }

// event adds an event that others know, too: a client that comes back may name
// the last one that it has seen.
func (l *lines) event(e events.Event) error { return l.write(string(e.Type), e.ID, e) }

// remark adds an event that is about this stream alone.
func (l *lines) remark(e events.Event) error { return l.write(string(e.Type), "", e) }

func (l *lines) write(kind, id string, v any) error {
	l.buf.Reset()
	if l.sse {
		l.field("event", kind)
		l.field("id", id)
		l.buf.WriteString("data: ")
	}
	if err := json.NewEncoder(&l.buf).Encode(v); err != nil { // with a line break behind it and none within
		return fmt.Errorf("encode line: %w", err)
	}
	if l.sse {
		l.buf.WriteByte('\n')
	}
	return l.send(l.buf.Bytes())
}

// field adds a field of a server-sent event, unless it is empty or cannot be
// one: types of custom events are anything.
func (l *lines) field(name, value string) {
	if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
		l.buf.WriteString(name + ": " + value + "\n")
	}
}

// beat sends a blank line, or a comment, by which either side notices that the
// other is gone.
func (l *lines) beat() error {
	blank := "\n"
	if l.sse {
		blank = ":\n\n"
	}
	if err := l.send([]byte(blank)); err != nil {
		return err
	}
	return l.flush()
}

func (l *lines) send(b []byte) error {
	l.s.deadline(l.w)
	_, err := l.w.Write(b)
	return err
}

func (l *lines) flush() error { return l.rc.Flush() }
