package statsd

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// Access says what a route does to the broker, and so who may ask for it.
type Access string

// The kinds of access.
const (
	Open  Access = "open"  // says no more than whether the broker works
	Read  Access = "read"  // looks only
	Admin Access = "admin" // looks only, at what is for administrators
	Write Access = "write" // changes something, by POST
	Local Access = "local" // looks only, and is answered on the control socket alone
)

// Route is one thing that can be asked of a broker.
type Route struct {
	Method  string
	Pattern string // as http.ServeMux has it, without the method
	Access  Access
	Stream  bool // answers until one side ends it
}

// Routes lists everything that can be asked, in no particular order.
func Routes() []Route {
	var list []Route
	for _, r := range routes() {
		list = append(list, r.Route)
	}
	return list
}

// route is a Route with what answers.
type route struct {
	Route
	handle func(*Server, http.ResponseWriter, *http.Request)
}

func routes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{Route{get, "/v1/version", Read, false}, (*Server).getVersion},
		{Route{get, "/v1/stats", Read, false}, (*Server).getStats},
		{Route{get, "/v1/stats/stream", Read, true}, (*Server).streamStats},
		{Route{get, "/v1/clients", Read, false}, (*Server).getClients},
		{Route{get, "/v1/clients/{id}", Read, false}, (*Server).getClient},
		{Route{get, "/v1/client", Read, false}, (*Server).getClient},
		{Route{get, "/v1/drops", Read, false}, (*Server).getDrops},
		{Route{get, "/v1/bridges", Read, false}, (*Server).getBridges},
		{Route{get, "/v1/fleet", Read, false}, (*Server).getFleet},
		{Route{get, "/v1/bridges/{name}/dead-letters", Read, false}, (*Server).getDeadLetters},
		{Route{post, "/v1/bridges/{name}/dead-letters/replay", Write, false}, (*Server).postReplay},
		{Route{post, "/v1/bridges/{name}/dead-letters/discard", Write, false}, (*Server).postDiscard},
		{Route{post, "/v1/bridges/{name}/pause", Write, false}, (*Server).postPause},
		{Route{post, "/v1/bridges/{name}/resume", Write, false}, (*Server).postResume},
		{Route{post, "/v1/bridges/{name}/test", Write, false}, (*Server).postBridgeTest},
		{Route{get, "/v1/balance", Read, false}, (*Server).getBalance},
		{Route{get, "/v1/publishers", Read, false}, (*Server).getPublishers},
		{Route{get, "/v1/topics", Read, false}, (*Server).getTopics},
		{Route{get, "/v1/retained", Read, false}, (*Server).getRetained},
		{Route{get, "/v1/config", Admin, false}, (*Server).getSettings},
		{Route{get, "/v1/debug/goroutines", Admin, false}, (*Server).getGoroutines},
		{Route{get, "/v1/debug/heap", Admin, false}, (*Server).getHeap},
		{Route{get, "/debug/pprof/{name}", Local, true}, (*Server).getProfile},
		{Route{get, "/v1/log/level", Read, false}, (*Server).getLogLevel},
		{Route{post, "/v1/log/level", Write, false}, (*Server).setLogLevel},
		{Route{post, "/v1/retained/clear", Write, false}, (*Server).clearRetained},
		{Route{post, "/v1/clients/{id}/kick", Write, false}, (*Server).postKick},
		{Route{post, "/v1/client/kick", Write, false}, (*Server).postKick},
		{Route{post, "/v1/reload", Write, false}, (*Server).postReload},
		{Route{get, "/v1/trace", Admin, true}, (*Server).streamTrace},
		{Route{get, "/v1/events", Read, true}, (*Server).streamEvents},
		{Route{get, "/v1/backup", Admin, true}, (*Server).getBackup},
		{Route{get, "/metrics", Read, false}, (*Server).getMetrics},
		{Route{get, "/healthz", Open, false}, (*Server).getLive},
		{Route{get, "/readyz", Open, false}, (*Server).getReady},
	}
}

// Permit decides about a request before its route answers. If it returns false
// it has answered itself.
type Permit func(http.ResponseWriter, *http.Request, Route) bool

// Handler answers the same routes, other than those that are Local, for another
// address than the control socket. Whether a request is permitted is for permit
// to say, and where it comes from for the caller to check. Up to streams of its
// streams run at once. Health is told without what is wrong. Streams end with
// the Server, whether it listens or not, or with the request's context.
func (s *Server) Handler(streams int, permit Permit) http.Handler {
	var list []route
	for _, r := range routes() {
		if r.Access != Local {
			list = append(list, r)
		}
	}
	return s.renewing(s.table(list, make(chan struct{}, streams), func(w http.ResponseWriter, r *http.Request, route Route) (*http.Request, bool) {
		return r.WithContext(context.WithValue(r.Context(), tersely{}, true)), permit(w, r, route)
	}))
}

// tersely is the key of a value in the context of requests that are told no
// details of the broker's health.
type tersely struct{}

// table returns routes as an http.Handler. streams has room for a token for each
// stream that runs; before may answer in place of a route.
func (s *Server) table(list []route, streams chan struct{}, before func(http.ResponseWriter, *http.Request, Route) (*http.Request, bool)) http.Handler {
	mux := http.NewServeMux()
	methods := make(map[string][]string) // by pattern
	for _, r := range list {
		methods[r.Pattern] = append(methods[r.Pattern], r.Method)
		serve := s.serveRoute(r, streams)
		mux.HandleFunc(r.Method+" "+r.Pattern, func(w http.ResponseWriter, req *http.Request) {
			if req, ok := before(w, req, r.Route); ok {
				serve(w, req)
			}
		})
	}
	for pattern, allowed := range methods {
		slices.Sort(allowed)
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			allow := strings.Join(allowed, ", ")
			w.Header().Set("Allow", allow)
			WriteError(w, http.StatusMethodNotAllowed, "method not allowed", "use "+allow)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		WriteError(w, http.StatusNotFound, "no such path", "try /v1/stats, /v1/clients or /v1/events")
	})
	return mux
}

// serveRoute returns the handler of one route.
func (s *Server) serveRoute(r route, streams chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if !r.Stream {
			r.handle(s, w, req)
			return
		}
		select {
		case streams <- struct{}{}:
			defer func() { <-streams }()
			r.handle(s, w, req)
			// The last chunk, which marks a clean end, needs time of its own.
			s.deadline(w)
		default:
			WriteError(w, http.StatusServiceUnavailable, "too many streams", "end one of the running ones first")
		}
	}
}

// renewing renews the write deadline, which stays with a connection from one
// request to the next.
func (s *Server) renewing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.rest.Stir()
		s.deadline(w)
		next.ServeHTTP(w, r)
	})
}

// guard turns away requests that a web page made. A browser that is talked into
// reaching the socket (through a proxy, say) sends the page's origin or the name
// of the host it believes to talk to.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, hasOrigin := r.Header["Origin"]
		switch {
		case hasOrigin:
			WriteError(w, http.StatusForbidden, "requests from web pages are refused", "send no Origin header")
		case r.Host != "edgebroker" && r.Host != "localhost":
			WriteError(w, http.StatusForbidden, "unexpected host name", `send "Host: edgebroker" or "Host: localhost"`)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
