package statsd

import (
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// Retained describes a retained message. Strings were chosen by clients:
// untrusted.
type Retained struct {
	Topic   string    `json:"topic"`
	Client  string    `json:"client"`            // who has published it, "" for the broker itself
	Since   time.Time `json:"since,omitzero"`    // missing: from before the start of the broker
	Expires float64   `json:"expires,omitempty"` // in so many seconds, 0: never
	Size    int       `json:"size"`              // bytes of payload
	QoS     byte      `json:"qos"`

	// The payload, if it is asked for: as text if it is UTF-8, else in base64.
	// What is longer than MaxPayload is cut.
	Payload       *string `json:"payload,omitempty"`
	PayloadBase64 []byte  `json:"payloadBase64,omitempty"`
	Cut           bool    `json:"cut,omitempty"`
}

// MaxPayload is how many bytes of a payload are told, and MaxPayloads of how
// many messages.
const (
	MaxPayload  = 64 << 10
	MaxPayloads = 100
)

// SetPayload sets Size and, if show is true, the payload.
func (r *Retained) SetPayload(p []byte, show bool) {
	r.Size = len(p)
	if !show {
		return
	}
	if len(p) > MaxPayload {
		p, r.Cut = p[:MaxPayload], true
		for range utf8.UTFMax - 1 { // not in the middle of a character
			if last, n := utf8.DecodeLastRune(p); last != utf8.RuneError || n != 1 {
				break
			}
			p = p[:len(p)-1]
		}
	}
	if !utf8.Valid(p) {
		r.PayloadBase64 = p
		return
	}
	text := string(p)
	r.Payload = &text
}

// Cleared is what became of retained messages that were to be removed.
type Cleared struct {
	Filter  string `json:"filter"`
	Cleared int    `json:"cleared"` // messages that are gone, or would be
	DryRun  bool   `json:"dryRun"`  // nothing has changed
}

func (s *Server) getRetained(w http.ResponseWriter, r *http.Request) {
	show, most := r.URL.Query().Get("payload") == "true", MaxFound
	if show {
		most = MaxPayloads
	}
	if filter, top, ok := s.asked(w, r, most); ok {
		WriteJSON(w, http.StatusOK, s.backend.Retained(filter, top, show))
	}
}

func (s *Server) clearRetained(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("filter") == "" {
		WriteError(w, http.StatusBadRequest, "a filter is missing", "use ?filter=plant/%23; ?filter=%23 clears all")
		return
	}
	try, ok := dryRun(w, r, "clear")
	if !ok {
		return
	}
	filter, _, ok := s.asked(w, r, MaxFound)
	if !ok {
		return
	}
	if try {
		WriteJSON(w, http.StatusOK, Cleared{Filter: filter, Cleared: s.backend.Retained(filter, 1, false).Total, DryRun: true})
		return
	}
	n, err := s.backend.ClearRetained(r.Context(), filter)
	if err != nil {
		WriteError(w, http.StatusInternalServerError, err.Error(), "they are gone from memory, and may be back after a restart; clear them again when the store works")
		return
	}
	WriteJSON(w, http.StatusOK, Cleared{Filter: filter, Cleared: n})
}

// WriteRetained writes a line for each message, as of now.
func WriteRetained(w io.Writer, list []Retained, now time.Time) error {
	g := grid{header: []string{"TOPIC", "CLIENT", "PUBLISHED", "EXPIRES", "BYTES", "QOS"}, left: 3}
	for _, r := range list {
		expires := "never"
		if r.Expires > 0 {
			expires = "in " + span(seconds(r.Expires))
		}
		g.rows = append(g.rows, []string{SafeText(r.Topic, 0), orBroker(r.Client), ago(r.Since, now), expires, count(r.Size), strconv.Itoa(int(r.QoS))})
	}
	return g.print(w)
}
