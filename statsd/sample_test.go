package statsd_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// Of the events that pass the other conditions ?sample=N sends every Nth.
func TestEventStreamSamples(t *testing.T) {
	r := start(t, newFakeBackend(), statsd.Options{}, func(s *statsd.Server) { s.SetTiming(10*time.Second, time.Hour) })
	for _, bad := range []string{"0", "-1", "x", "1.5", "99999999999"} {
		if status, _, _ := r.ask(t, http.MethodGet, "/v1/events?sample="+bad, nil); status != http.StatusBadRequest {
			t.Errorf("sample=%s: status %d", bad, status)
		}
	}
	third, each := r.browse(t, "/v1/events?type=message&sample=3", ""), r.browse(t, "/v1/events?type=message&sample=1", "")
	for i := range 9 {
		r.backend.bus.Publish(events.Event{ID: "c", Type: events.Connection, Source: "dev1", Data: events.ConnectionData{ClientID: "dev1"}})
		r.backend.bus.Publish(message(i, "a", "x"))
	}
	for every, got := range map[int]<-chan sse{3: third, 1: each} {
		for i := 0; i < 9; i += every {
			if e := nextSSE(t, got); e.id != fmt.Sprint(i) {
				t.Fatalf("sample=%d: got %+v, want event %d", every, e, i)
			}
		}
	}
}
