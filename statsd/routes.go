package statsd

import (
	"net/http"
	"slices"
	"strings"
)

// access says what a route may do to the broker.
type access string

const (
	readOnly access = "read"  // looks only
	write    access = "write" // changes something, by POST
)

// route is one thing that can be asked of the control socket.
type route struct {
	method  string
	pattern string // as http.ServeMux has it, without the method
	access  access
	stream  bool // answers until one side ends it
	handle  func(*Server, http.ResponseWriter, *http.Request)
}

// routes lists everything the control socket answers.
func routes() []route {
	return []route{
		{http.MethodGet, "/v1/version", readOnly, false, (*Server).getVersion},
		{http.MethodGet, "/v1/stats", readOnly, false, (*Server).getStats},
		{http.MethodGet, "/v1/stats/stream", readOnly, true, (*Server).streamStats},
		{http.MethodGet, "/v1/clients", readOnly, false, (*Server).getClients},
		{http.MethodGet, "/v1/clients/{id}", readOnly, false, (*Server).getClient},
		{http.MethodGet, "/v1/drops", readOnly, false, (*Server).getDrops},
		{http.MethodGet, "/v1/bridges", readOnly, false, (*Server).getBridges},
		{http.MethodGet, "/v1/bridges/{name}/dead-letters", readOnly, false, (*Server).getDeadLetters},
		{http.MethodPost, "/v1/bridges/{name}/dead-letters/replay", write, false, (*Server).postReplay},
		{http.MethodPost, "/v1/bridges/{name}/dead-letters/discard", write, false, (*Server).postDiscard},
		{http.MethodPost, "/v1/bridges/{name}/pause", write, false, (*Server).postPause},
		{http.MethodPost, "/v1/bridges/{name}/resume", write, false, (*Server).postResume},
		{http.MethodGet, "/v1/balance", readOnly, false, (*Server).getBalance},
		{http.MethodGet, "/v1/publishers", readOnly, false, (*Server).getPublishers},
		{http.MethodGet, "/v1/topics", readOnly, false, (*Server).getTopics},
		{http.MethodGet, "/v1/retained", readOnly, false, (*Server).getRetained},
		{http.MethodGet, "/v1/config", readOnly, false, (*Server).getSettings},
		{http.MethodGet, "/v1/debug/goroutines", readOnly, false, (*Server).getGoroutines},
		{http.MethodGet, "/v1/debug/heap", readOnly, false, (*Server).getHeap},
		{http.MethodGet, "/v1/log/level", readOnly, false, (*Server).getLogLevel},
		{http.MethodPost, "/v1/log/level", write, false, (*Server).setLogLevel},
		{http.MethodPost, "/v1/retained/clear", write, false, (*Server).clearRetained},
		{http.MethodPost, "/v1/clients/{id}/kick", write, false, (*Server).postKick},
		{http.MethodPost, "/v1/reload", write, false, (*Server).postReload},
		{http.MethodGet, "/v1/events", readOnly, true, (*Server).streamEvents},
		{http.MethodGet, "/v1/trace", readOnly, true, (*Server).streamTrace},
		{http.MethodGet, "/v1/backup", readOnly, true, (*Server).getBackup},
		{http.MethodGet, "/metrics", readOnly, false, (*Server).getMetrics},
		{http.MethodGet, "/healthz", readOnly, false, (*Server).getLive},
		{http.MethodGet, "/readyz", readOnly, false, (*Server).getReady},
	}
}

// handler returns the route table as an http.Handler with the checks that every
// request must pass in front.
func (s *Server) handler() http.Handler {
	table := routes()
	mux := http.NewServeMux()
	methods := make(map[string][]string) // by pattern
	for _, r := range table {
		methods[r.pattern] = append(methods[r.pattern], r.method)
		mux.HandleFunc(r.method+" "+r.pattern, s.serveRoute(r))
	}
	for pattern, allowed := range methods {
		slices.Sort(allowed)
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			allow := strings.Join(allowed, ", ")
			w.Header().Set("Allow", allow)
			writeError(w, http.StatusMethodNotAllowed, "method not allowed", "use "+allow)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "no such path", "try /v1/stats, /v1/clients or /v1/events")
	})
	return s.guard(mux)
}

// serveRoute returns the handler of one route.
func (s *Server) serveRoute(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if !r.stream {
			r.handle(s, w, req)
			return
		}
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
			r.handle(s, w, req)
			// The last chunk, which marks a clean end, needs time of its own.
			s.deadline(w)
		default:
			writeError(w, http.StatusServiceUnavailable, "too many streams", "end one of the running ones first")
		}
	}
}

// guard turns away requests that a web page made. A browser that is talked into
// reaching the socket (through a proxy, say) sends the page's origin or the name
// of the host it believes to talk to. It also renews the write deadline, which
// stays with a connection from one request to the next.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.deadline(w)
		_, hasOrigin := r.Header["Origin"]
		switch {
		case hasOrigin:
			writeError(w, http.StatusForbidden, "requests from web pages are refused", "send no Origin header")
		case r.Host != "edgebroker" && r.Host != "localhost":
			writeError(w, http.StatusForbidden, "unexpected host name", `send "Host: edgebroker" or "Host: localhost"`)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
