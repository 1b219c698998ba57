package statsd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// Of the events that pass the other conditions ?sample=N sends every Nth.
func TestEventStreamSamples(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(10*time.Second, time.Hour) })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", r.path)
	}}}
	ask := func(query string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://edgebroker/v1/events?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for _, bad := range []string{"0", "-1", "x", "1.5", "99999999999"} {
		if resp := ask("sample=" + bad); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("sample=%s: status %d", bad, resp.StatusCode)
		}
	}
	third, each := ask("type=message&sample=3"), ask("type=message&sample=1")
	for i := range 9 {
		r.backend.bus.Publish(events.Event{ID: "c", Type: events.Connection, Source: "dev1", Data: events.ConnectionData{ClientID: "dev1"}})
		r.backend.bus.Publish(message(i, "a", "x"))
	}
	for resp, want := range map[*http.Response][]string{third: {"0", "3", "6"}, each: {"0", "1", "2", "3", "4", "5", "6", "7", "8"}} {
		lines := bufio.NewScanner(resp.Body)
		for _, id := range want {
			var e events.Event
			if !lines.Scan() || json.Unmarshal(lines.Bytes(), &e) != nil || e.ID != id {
				t.Fatalf("got %q, want event %s", lines.Text(), id)
			}
		}
	}
}
