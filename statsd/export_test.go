package statsd

import "time"

// SetTiming shortens the spans that real users never wait for in a test.
func (s *Server) SetTiming(write, heartbeat time.Duration) {
	s.timing = timing{write: write, heartbeat: heartbeat}
}

// MaxStreams is how many streams run at once.
const MaxStreams = maxStreams

// RouteAccess lists "method pattern access stream" for every route.
func RouteAccess() [][4]string {
	var out [][4]string
	for _, r := range routes() {
		kind := "answer"
		if r.stream {
			kind = "stream"
		}
		out = append(out, [4]string{r.method, r.pattern, string(r.access), kind})
	}
	return out
}
