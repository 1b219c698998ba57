package statsd

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
)

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, VersionInfo{
		Version:   s.backend.Snapshot().Version,
		GoVersion: runtime.Version(),
		OS:        runtime.GOOS,
		Arch:      runtime.GOARCH,
	})
}

func (s *Server) getStats(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, s.backend.Snapshot())
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) {
	s.metrics.ServeHTTP(w, r)
}

// getClients answers with the list of clients in the order of ?sort=, cut to
// ?top= entries.
func (s *Server) getClients(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	top := 0
	if text := q.Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			WriteError(w, http.StatusBadRequest, "top is not a number of clients", "use ?top=10, or leave it out for all")
			return
		}
		top = n
	}
	clients := s.backend.Clients()
	if !SortClients(clients, q.Get("sort")) {
		WriteError(w, http.StatusBadRequest, "unknown sort order", "use one of "+strings.Join(ClientOrders(), ", "))
		return
	}
	if top > 0 && top < len(clients) {
		clients = clients[:top]
	}
	if clients == nil {
		clients = []Client{} // "[]", not "null"
	}
	WriteJSON(w, http.StatusOK, clients)
}

// clientID is whom a request is about: by a segment of the path or, for those who
// cannot write every identifier as one, by the query. Browsers take "." and ".."
// for folders however they are escaped, and proxies decode %2F. If there is none
// it has answered, and is false.
func clientID(w http.ResponseWriter, r *http.Request) (string, bool) {
	id := r.PathValue("id")
	if id == "" {
		id = r.URL.Query().Get("id")
	}
	if id == "" {
		WriteError(w, http.StatusBadRequest, "a client identifier is missing", "use ?id=CLIENT; /v1/clients lists them")
	}
	return id, id != ""
}

func (s *Server) getClient(w http.ResponseWriter, r *http.Request) {
	id, ok := clientID(w, r)
	if !ok {
		return
	}
	c, ok := s.backend.Client(id)
	if !ok {
		WriteError(w, http.StatusNotFound, "no such client", "/v1/clients lists them")
		return
	}
	WriteJSON(w, http.StatusOK, c)
}

// Kicked is the answer to a kick that worked.
type Kicked struct {
	Kicked string `json:"kicked"` // the client
}

func (s *Server) postKick(w http.ResponseWriter, r *http.Request) {
	id, ok := clientID(w, r)
	if !ok {
		return
	}
	if !s.backend.Kick(id) {
		WriteError(w, http.StatusNotFound, "no such client is connected", "/v1/clients lists them")
		return
	}
	WriteJSON(w, http.StatusOK, Kicked{Kicked: id})
}

// dryRun reports whether a request is to change nothing. If it does not say so
// clearly, ok is false, and it has been answered.
func dryRun(w http.ResponseWriter, r *http.Request, verb string) (try, ok bool) {
	text := r.URL.Query().Get("dry_run")
	if text == "" {
		return false, true
	}
	try, err := strconv.ParseBool(text)
	if err != nil {
		WriteError(w, http.StatusBadRequest, "dry_run is neither true nor false", "leave it out to "+verb)
		return false, false
	}
	return try, true
}

func (s *Server) postReload(w http.ResponseWriter, r *http.Request) {
	try, ok := dryRun(w, r, "reload")
	if !ok {
		return
	}
	changed, err := s.backend.Reload(r.Context(), try)
	if err != nil {
		WriteError(w, http.StatusConflict, err.Error(), "nothing has changed; mend that and reload again")
		return
	}
	WriteJSON(w, http.StatusOK, changed)
}

func (s *Server) getLive(w http.ResponseWriter, r *http.Request) {
	h := s.health(r)
	WriteJSON(w, healthStatus(h.Live), h)
}

func (s *Server) getReady(w http.ResponseWriter, r *http.Request) {
	h := s.health(r)
	WriteJSON(w, healthStatus(h.Live && h.Ready), h)
}

// health is that of the broker, with as much as may be told.
func (s *Server) health(r *http.Request) Health {
	h := s.backend.Health()
	if r.Context().Value(tersely{}) != nil {
		h.Problems = nil
	}
	return h
}

func healthStatus(good bool) int {
	if good {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}
