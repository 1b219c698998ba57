package statsd

import (
	"encoding/json"
	"net/http"
	"time"
)

// Failure is the body of every answer that is not a success.
type Failure struct {
	Error string `json:"error"`          // what is wrong
	Hint  string `json:"hint,omitempty"` // how to mend it
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"encode answer","hint":"report this as a bug"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client is gone: nobody to tell
}

// WriteError answers with what went wrong and how to mend it, in the form that all
// answers have which are not a success.
func WriteError(w http.ResponseWriter, status int, what, hint string) {
	WriteJSON(w, status, Failure{Error: what, Hint: hint})
}

// deadline gives the client a span of time to take what is written from now on.
func (s *Server) deadline(w http.ResponseWriter) {
	// A ResponseWriter without deadlines, as in tests, has no slow client.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.timing.write))
}
