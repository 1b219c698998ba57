package statsd_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

func system(i int) events.Event {
	return events.Event{ID: fmt.Sprint(i), Type: events.System, Source: events.Source,
		Time: time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC), Data: events.SystemData{What: fmt.Sprint(i)}}
}

func TestHistory(t *testing.T) {
	backend := newFakeBackend()
	for i := range 6 {
		backend.past = append(backend.past, system(i))
	}
	backend.past = append(backend.past, events.Event{ID: "c", Type: events.Connection, Source: "dev1", Time: system(6).Time, Data: events.ConnectionData{ClientID: "dev1"}})
	r := start(t, backend, statsd.Options{}, nil)
	at := func(i int) time.Time { return system(i).Time }
	for _, tt := range []struct {
		past   statsd.Past
		filter events.Filter
		want   string
	}{
		{statsd.Past{}, events.Filter{}, "0 1 2 3 4 5 c"},
		{statsd.Past{Since: at(4)}, events.Filter{}, "4 5 c"},
		{statsd.Past{Until: at(1)}, events.Filter{}, "0 1"},
		{statsd.Past{Since: at(1), Until: at(2)}, events.Filter{}, "1 2"},
		{statsd.Past{Since: at(1)}, events.Filter{Client: "dev1"}, "c"},
		{statsd.Past{Since: at(5)}, events.Filter{Types: []events.Type{events.System}}, "5"},
	} {
		var got []string
		err := r.control.History(t.Context(), tt.past, tt.filter, func(e events.Event) error { got = append(got, e.ID); return nil })
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%+v %+v: %v, %v; want %s", tt.past, tt.filter, got, err, tt.want)
		}
	}
	enough := errors.New("enough")
	if err := r.control.History(t.Context(), statsd.Past{}, events.Filter{}, func(events.Event) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	for _, query := range []string{"since=yesterday", "until=1", "since=2026-01-01T00:00:00Z&follow=perhaps"} {
		if status, _, body := r.ask(t, http.MethodGet, "/v1/events?"+query, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// What is recorded is followed by what happens, with nothing between them missing
// or twice.
func TestHistoryFollows(t *testing.T) {
	backend := newFakeBackend()
	for i := range 5 {
		backend.past = append(backend.past, system(i))
	}
	r := start(t, backend, statsd.Options{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, end := make(chan string, 100), make(chan error, 1)
	go func() {
		end <- r.control.History(ctx, statsd.Past{Since: system(2).Time, Follow: true}, events.Filter{}, func(e events.Event) error {
			got <- e.ID
			return nil
		})
	}()
	var list []string
	for len(list) < 3 {
		list = append(list, <-got)
	}
	for _, i := range []int{3, 4, 5, 6} { // two of which are in the past already
		backend.bus.Publish(system(i))
	}
	for len(list) < 5 {
		list = append(list, <-got)
	}
	cancel()
	if <-end; !slices.Equal(list, []string{"2", "3", "4", "5", "6"}) {
		t.Errorf("got %v", list)
	}
}
