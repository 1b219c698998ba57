package statsd

import "time"

// SetTiming shortens the spans that real users never wait for in a test.
func (s *Server) SetTiming(write, heartbeat time.Duration) {
	s.timing = timing{write: write, heartbeat: heartbeat}
}

// MaxStreams is how many streams run at once.
const MaxStreams = maxStreams
