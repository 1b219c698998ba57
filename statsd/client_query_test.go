package statsd_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/statsd"
)

// Whatever a client is called, it can be asked about and kicked by the query,
// also where a browser or a proxy would make another path of its name.
func TestClientByQuery(t *testing.T) {
	names := []string{".", "..", "...", "a/b", "../kick", "?", "#", "&id=dev", "%2e", "+", " ", "\n", "ü", "\u202e", "client", "kick"}
	var clients []statsd.Client
	for _, id := range names {
		clients = append(clients, statsd.Client{ID: id, Connected: true})
	}
	backend := newFakeBackend(clients...)
	r := start(t, backend, statsd.Options{}, nil)
	for _, id := range names {
		q := url.Values{"id": {id}}.Encode()
		status, _, body := r.ask(t, "GET", "/v1/client?"+q, nil)
		var got statsd.Client
		if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil || got.ID != id {
			t.Errorf("%q: %d %s", id, status, body)
		}
		status, _, body = r.ask(t, "POST", "/v1/client/kick?"+q, nil)
		var kicked statsd.Kicked
		if err := json.Unmarshal([]byte(body), &kicked); status != 200 || err != nil || kicked.Kicked != id {
			t.Errorf("kick %q: %d %s", id, status, body)
		}
	}
	if !slices.Equal(backend.kicked, names) {
		t.Errorf("kicked %q, want %q", backend.kicked, names)
	}
	for target, want := range map[string]int{
		"GET /v1/client": 400, "GET /v1/client?id=": 400, "GET /v1/client?id=nobody": 404, "GET /v1/client?ID=.": 400, "POST /v1/client?id=.": 405,
		"POST /v1/client/kick": 400, "POST /v1/client/kick?id=": 400, "POST /v1/client/kick?id=nobody": 404, "GET /v1/client/kick?id=.": 405,
	} {
		method, path, _ := strings.Cut(target, " ")
		if status, _, body := r.ask(t, method, path, nil); status != want {
			t.Errorf("%s: %d %s, want %d", target, status, body, want)
		}
	}
}
