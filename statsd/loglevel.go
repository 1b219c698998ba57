package statsd

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// LogLevel is from which level on the broker logs.
type LogLevel struct {
	Level  string `json:"level"`  // now: one of LogLevels
	Config string `json:"config"` // as configured; it counts again after a reload or a restart
}

// LogLevels are the levels that can be set, the one that logs most first.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// ErrLogFixed says that the broker's log has no level that can be changed.
var ErrLogFixed = errors.New("the level of this broker's log is not the broker's to change")

func (s *Server) getLogLevel(w http.ResponseWriter, _ *http.Request) {
	level, err := s.backend.LogLevel("")
	s.answerLogLevel(w, level, err)
}

func (s *Server) setLogLevel(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("level")
	if !slices.Contains(LogLevels(), name) {
		WriteError(w, http.StatusBadRequest, "there is no such level", "use one of "+strings.Join(LogLevels(), ", "))
		return
	}
	level, err := s.backend.LogLevel(name)
	s.answerLogLevel(w, level, err)
}

func (s *Server) answerLogLevel(w http.ResponseWriter, level LogLevel, err error) {
	if err != nil {
		WriteError(w, http.StatusConflict, err.Error(), "ask the program that the broker is part of")
		return
	}
	WriteJSON(w, http.StatusOK, level)
}
