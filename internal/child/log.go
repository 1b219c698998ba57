package child

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Log is what a process has said: its last lines, and where it listens.
type Log struct {
	listening chan struct{} // closed when it says so for the first time

	mu      sync.Mutex // guards everything that follows
	partial []byte
	lines   []string
	first   string            // address of the first listener
	at      map[string]string // of all, by name
}

// keptLines is how many lines are kept.
const keptLines = 2000

func newLog() *Log { return &Log{listening: make(chan struct{}), at: make(map[string]string)} }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.partial = rest
		var said struct{ Msg, Listener, Address string }
		if json.Unmarshal(line, &said) == nil && strings.HasPrefix(said.Msg, "listening") && said.Address != "" {
			l.at[said.Listener] = said.Address
			if l.first == "" {
				l.first = said.Address
				close(l.listening)
			}
		}
		l.lines = append(l.lines, string(line))
		if len(l.lines) > 2*keptLines {
			l.lines = append([]string(nil), l.lines[keptLines:]...)
		}
	}
}

// Address is that of the listener of that name, "" as long as it is not known; of
// "" that of the first.
func (l *Log) Address(listener string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if listener == "" {
		return l.first
	}
	return l.at[listener]
}

// String is the last lines, as a report shows them.
func (l *Log) String() string { return l.Tail(40) }

// Tail is the last n lines, at most those that are kept.
func (l *Log) Tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.lines[max(0, len(l.lines)-n):] {
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}
