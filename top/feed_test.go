package top

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// fakeDaemon answers as its functions say; others are not asked.
type fakeDaemon struct {
	Daemon
	stream  func(ctx context.Context, fn func(statsd.Snapshot) error) error
	clients func(ctx context.Context) ([]statsd.Client, error)
	history func(ctx context.Context, p statsd.Past, f events.Filter, fn func(events.Event) error) error
	events  func(ctx context.Context, f events.Filter, fn func(events.Event) error) error
}

func (d *fakeDaemon) StatsStream(ctx context.Context, _ time.Duration, fn func(statsd.Snapshot) error) error {
	return d.stream(ctx, fn)
}

func (d *fakeDaemon) Clients(ctx context.Context, _ string, _ int) ([]statsd.Client, error) {
	return d.clients(ctx)
}

func (d *fakeDaemon) History(ctx context.Context, p statsd.Past, f events.Filter, fn func(events.Event) error) error {
	return d.history(ctx, p, f, fn)
}

func (d *fakeDaemon) Events(ctx context.Context, f events.Filter, _ func(), fn func(events.Event) error) error {
	return d.events(ctx, f, fn)
}

// A broker that hangs is noticed, and asked again.
func TestASilentDaemonIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		d := &fakeDaemon{stream: func(ctx context.Context, fn func(statsd.Snapshot) error) error {
			attempts++
			if err := fn(statsd.Snapshot{}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		var told []string
		f := &feed{d: d, o: Options{Interval: 2 * time.Second, Patience: 5 * time.Second}, tell: func(news any) {
			switch n := news.(type) {
			case counters:
				told = append(told, "counters")
			case trouble:
				told = append(told, n.text)
				if !n.lost {
					t.Error("it is not said to be lost")
				}
				if attempts == 2 {
					cancel()
				}
			}
		}}
		begun := time.Now()
		f.stats(ctx)
		if want := []string{"counters", "no answer in time", "counters", "no answer in time"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if took := time.Since(begun); took != 15*time.Second {
			t.Errorf("two attempts took %v", took)
		}
	})
}

// A list that takes long is asked for less often, and its error is told.
func TestListsTakeAShareOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		questions := make(chan question, 1)
		asked := 0
		d := &fakeDaemon{clients: func(context.Context) ([]statsd.Client, error) {
			asked++
			wait(context.Background(), time.Second)
			return nil, errors.New("too\nbusy")
		}}
		f := &feed{d: d, o: Options{Interval: time.Second, Patience: 5 * time.Second}, tell: func(news any) {
			if n := news.(trouble); n.text != "too; busy" || n.lost || n.tab != clientsTab {
				t.Errorf("told %+v", n)
			}
		}}
		go func() {
			defer cancel()
			for range 40 {
				select {
				case questions <- question{tab: clientsTab}:
				default:
				}
				wait(ctx, time.Second)
			}
		}()
		f.lists(ctx, questions)
		if asked < 9 || asked > 11 {
			t.Errorf("asked %d times in 40 seconds", asked)
		}
	})
}

// Messages are asked for only on demand, and a broker that records nothing is
// followed all the same.
func TestEventsOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var asked []string
		d := &fakeDaemon{
			history: func(context.Context, statsd.Past, events.Filter, func(events.Event) error) error {
				return &statsd.APIError{Status: 404, Message: "nothing is recorded"}
			},
			events: func(ctx context.Context, f events.Filter, fn func(events.Event) error) error {
				kind := "all"
				if len(f.Types) > 0 {
					kind = "quiet"
					if slices.Contains(f.Types, events.Message) {
						t.Error("messages are asked for")
					}
				}
				asked = append(asked, kind)
				for range 3 {
					if err := fn(events.Event{ID: kind, Type: events.System}); err != nil {
						return err
					}
				}
				<-ctx.Done()
				return ctx.Err()
			},
		}
		var got []string
		f := &feed{d: d, tell: func(news any) {
			for _, e := range news.(happened).list {
				got = append(got, e.ID)
			}
		}}
		messages := make(chan bool, 1)
		messages <- false
		ended := make(chan struct{})
		go func() { defer close(ended); f.happenings(ctx, messages) }()
		synctest.Wait()
		for _, loud := range []bool{false, true, true, false} {
			messages <- loud
			synctest.Wait()
		}
		cancel()
		<-ended
		if want := "quiet all quiet"; strings.Join(asked, " ") != want {
			t.Errorf("asked for %q, want %q", asked, want)
		}
		if len(got) != 9 {
			t.Errorf("told of %q", got)
		}
	})
}
