package statsd

import (
	"bytes"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// Bounds of how long a profile is taken.
const (
	profileTime    = 30 * time.Second
	maxProfileTime = 5 * time.Minute
)

// getProfile answers with what `go tool pprof` and `go tool trace` read, as
// package net/http/pprof does: "profile" is where processor time goes for
// ?seconds=, "trace" what is run when, and every other name one of
// runtime/pprof's, as text with ?debug=1.
func (s *Server) getProfile(w http.ResponseWriter, r *http.Request) {
	name, q := r.PathValue("name"), r.URL.Query()
	span := profileTime
	if text := q.Get("seconds"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0 && n <= maxProfileTime.Seconds()) {
			WriteError(w, http.StatusBadRequest, "seconds is not a number from 0 to 300", "use ?seconds=30")
			return
		}
		span = time.Duration(n * float64(time.Second))
	}
	switch name {
	case "profile":
		s.record(w, r, span, func(b *bytes.Buffer) error { return pprof.StartCPUProfile(b) }, pprof.StopCPUProfile)
	case "trace":
		s.record(w, r, span, func(b *bytes.Buffer) error { return trace.Start(b) }, trace.Stop)
	default:
		form, kind := 0, "application/octet-stream"
		if text := q.Get("debug"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > 2 {
				WriteError(w, http.StatusBadRequest, "debug is not a form", "use 0, 1 or 2")
				return
			}
			if form = n; n > 0 {
				kind = "text/plain; charset=utf-8"
			}
		}
		if pprof.Lookup(name) == nil {
			WriteError(w, http.StatusNotFound, "no such profile", "use profile, trace, heap, allocs, goroutine, mutex, block or threadcreate")
			return
		}
		s.profile(w, name, kind, form)
	}
}

// record answers with what start has written by the time that stop returns,
// which is called after a span of time.
func (s *Server) record(w http.ResponseWriter, r *http.Request, span time.Duration, start func(*bytes.Buffer) error, stop func()) {
	ctx, cancel := s.streamContext(r)
	defer cancel()
	var b bytes.Buffer
	if err := start(&b); err != nil {
		WriteError(w, http.StatusConflict, err.Error(), "wait until the other one has ended")
		return
	}
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	stop()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	s.deadline(w)
	_, _ = w.Write(b.Bytes()) // the client is gone: nobody to tell
}
