package statsd

import (
	"net/http"
	"runtime/pprof"
)

// Setting is one key of the configuration in force. Nothing secret is in it.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Preset bool   `json:"preset"` // it is the default
}

func (s *Server) getSettings(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, s.backend.Settings())
}

// getGoroutines answers with the stacks of all goroutines, equal ones together.
func (s *Server) getGoroutines(w http.ResponseWriter, _ *http.Request) {
	s.profile(w, "goroutine", "text/plain; charset=utf-8", 1)
}

// getHeap answers with a profile of the heap, for `go tool pprof`. It holds sizes
// and places in the program, nothing of what lies in memory.
func (s *Server) getHeap(w http.ResponseWriter, _ *http.Request) {
	s.profile(w, "heap", "application/octet-stream", 0)
}

func (s *Server) profile(w http.ResponseWriter, name, kind string, form int) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_ = pprof.Lookup(name).WriteTo(w, form) // the client is gone: nobody to tell
}
