package statsd

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Publication is what is known of the latest message of one publisher on a
// topic. Strings were chosen by the client: untrusted.
type Publication struct {
	Client   string    `json:"client"` // "" for the broker itself
	Username string    `json:"username,omitempty"`
	Remote   string    `json:"remote,omitempty"` // address, if it is known
	Time     time.Time `json:"time,omitzero"`    // missing: before the start of the broker
	Size     int       `json:"size"`             // bytes of payload
	QoS      byte      `json:"qos"`
}

// TopicPublishers is who has published on a topic.
type TopicPublishers struct {
	Topic      string        `json:"topic"`
	Publishers []Publication `json:"publishers"` // the latest first
	Retained   *Retained     `json:"retained,omitempty"`
}

// Found is a list that may have been cut.
type Found[T any] struct {
	Total int `json:"total"` // found
	List  []T `json:"list"`  // the first of them
}

// MaxFound is how many of what was found are told in one answer.
const MaxFound = 10_000

// Topics is how much was published since the start, and where.
type Topics struct {
	Messages uint64 `json:"messages"` // on all topics
	Bytes    uint64 `json:"bytes"`    // of their payload
	Missed   uint64 `json:"missed"`   // of Messages: those on more topics at once than can be told apart
	Busiest  []Busy `json:"busiest"`  // the busiest first
}

// Busy is a topic, or a branch of topics.
type Busy struct {
	Topic    string `json:"topic"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// Error is by how much, at most, that number is too high by which the list is
	// sorted. If it is not 0, the other one may be too low.
	Error uint64 `json:"error"`
}

// TopicOrders are what Topics can be sorted by, the default first.
func TopicOrders() []string { return []string{"messages", "bytes"} }

// asked reads ?filter= and ?top=; ok is false if it has answered what is wrong
// with them.
func (s *Server) asked(w http.ResponseWriter, r *http.Request, most int) (filter string, top int, ok bool) {
	filter, top = r.URL.Query().Get("filter"), most
	if filter == "" {
		filter = "#"
	}
	if s.checkFilter != nil {
		if err := s.checkFilter(filter); err != nil {
			WriteError(w, http.StatusBadRequest, err.Error(), "see the MQTT specification, section 4.7")
			return "", 0, false
		}
	}
	if text := r.URL.Query().Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			WriteError(w, http.StatusBadRequest, "top is not a number of topics", "use ?top=10, or leave it out")
			return "", 0, false
		}
		top = min(n, most)
	}
	return filter, top, true
}

func (s *Server) getPublishers(w http.ResponseWriter, r *http.Request) {
	if filter, top, ok := s.asked(w, r, MaxFound); ok {
		WriteJSON(w, http.StatusOK, s.backend.Publishers(filter, top))
	}
}

func (s *Server) getTopics(w http.ResponseWriter, r *http.Request) {
	_, top, ok := s.asked(w, r, MaxFound)
	if !ok {
		return
	}
	q, depth := r.URL.Query(), 0
	if text := q.Get("depth"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			WriteError(w, http.StatusBadRequest, "depth is not a number of levels", "use ?depth=2")
			return
		}
		depth = n
	}
	order := q.Get("sort")
	if order != "" && order != "messages" && order != "bytes" {
		WriteError(w, http.StatusBadRequest, "unknown sort order", "use one of "+strings.Join(TopicOrders(), ", "))
		return
	}
	t, err := s.backend.Topics(depth, order == "bytes", top)
	if err != nil {
		WriteError(w, http.StatusBadRequest, err.Error(), "use a smaller depth")
		return
	}
	WriteJSON(w, http.StatusOK, t)
}

// WritePublishers writes who has published on which topics, as of now.
func WritePublishers(w io.Writer, list []TopicPublishers, now time.Time) error {
	g := grid{header: []string{"TOPIC", "CLIENT", "USER", "ADDRESS", "WHEN", "BYTES", "QOS", "RETAINED"}, left: 4}
	for _, t := range list {
		topic, kept := SafeText(t.Topic, 0), ""
		if t.Retained != nil {
			kept = ago(t.Retained.Since, now)
		}
		for i, p := range t.Publishers {
			if i > 0 {
				topic, kept = "", ""
			}
			g.rows = append(g.rows, []string{topic, orBroker(p.Client), orDash(SafeText(p.Username, maxText)), orDash(SafeText(p.Remote, maxText)),
				ago(p.Time, now), count(p.Size), strconv.Itoa(int(p.QoS)), kept})
		}
	}
	return g.print(w)
}

// orBroker is a client, or the broker itself.
func orBroker(client string) string {
	if client == "" {
		return "(the broker)"
	}
	return SafeText(client, maxText)
}

// ago is how long before now t was.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "before the start"
	}
	return span(now.Sub(t)) + " ago"
}

// WriteTable writes the busiest topics. byBytes is how they are sorted; rates, if
// not nil, are messages and bytes per second.
func (t Topics) WriteTable(w io.Writer, byBytes bool, rates func(topic string) (messages, bytes float64)) error {
	g := grid{header: []string{"TOPIC", "MESSAGES", "BYTES", "TOO HIGH BY", "SHARE"}}
	if rates != nil {
		g.header = append(g.header, "PER SECOND", "BYTES/S")
	}
	for _, b := range t.Busiest {
		row := []string{orDash(SafeText(b.Topic, 0)), count(b.Messages), size(b.Bytes), "0", "-"}
		part, all := b.Messages, t.Messages
		if byBytes {
			part, all = b.Bytes, t.Bytes
		}
		if all > 0 {
			row[4] = fmt.Sprintf("%.1f%%", 100*float64(part)/float64(all))
		}
		switch {
		case b.Error > 0 && byBytes:
			row[3], row[1] = size(b.Error), ">="+row[1]
		case b.Error > 0:
			row[3], row[2] = count(b.Error), ">="+row[2]
		}
		if rates != nil {
			m, n := rates(b.Topic)
			row = append(row, rate(m), byteRate(n))
		}
		g.rows = append(g.rows, row)
	}
	g.rows = append(g.rows, []string{"(all)", count(t.Messages), size(t.Bytes), "0", ""})
	if t.Missed > 0 {
		g.rows = append(g.rows, []string{"(not told apart)", count(t.Missed), "", "", ""})
	}
	return g.print(w)
}
