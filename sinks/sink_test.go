package sinks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/sinks"
)

// recorded is a target that keeps events, and waits for hold if that is set.
type recorded struct {
	got  []events.Event
	hold chan bool
}

func (r *recorded) Take(e events.Event) {
	if r.hold != nil {
		<-r.hold
	}
	r.got = append(r.got, e)
}
func (r *recorded) Reopen()                     {}
func (r *recorded) Counts() sinks.Counts        { return sinks.Counts{Sent: uint64(len(r.got))} }
func (r *recorded) Close(context.Context) error { return nil }

func TestFilters(t *testing.T) {
	all := []events.Event{
		events.New(events.Connection, "pump-1", events.ConnectionData{ClientID: "pump-1"}),
		events.New(events.Connection, "fan-1", events.ConnectionData{ClientID: "fan-1"}),
		events.New(events.Message, "pump-1", events.MessageData{ClientID: "pump-1", Topic: "a/b", Payload: []byte("p")}),
		events.New(events.Message, "edgebroker", events.MessageData{Topic: "$events/message/pump-1"}),
		events.New(events.Message, "edgebroker", events.MessageData{Topic: "$eventsx"}),
		events.New(events.Drop, "fan-1", events.DropData{ClientID: "fan-1", Topic: "$events/x"}),
		events.New(events.Drop, "pump-1", events.DropData{ClientID: "pump-1", Topic: "a"}),
		events.New(events.Refusal, "edgebroker", events.RefusalData{ClientID: "pump-1"}),
		event(0),
	}
	pumps := func(id string) bool { return strings.HasPrefix(id, "pump-") }
	for _, tt := range []struct {
		name string
		o    sinks.Options
		want []int
	}{
		{"default", sinks.Options{}, []int{0, 1, 7, 8}},
		{"all but what sinks do", sinks.Options{Types: []events.Type{events.Any}}, []int{0, 1, 2, 4, 6, 7, 8}},
		{"client", sinks.Options{Client: pumps}, []int{0, 7}},
		{"topic", sinks.Options{Topic: "a"}, []int{6}},
		{"every second", sinks.Options{Types: []events.Type{events.Any}, Sample: 2}, []int{0, 2, 6, 8}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bus := events.NewBus(nil, nil)
			tt.o.Queue = 100
			var r recorded
			s := sinks.Start(bus, tt.o, &r)
			for _, e := range all {
				bus.Publish(e)
			}
			if err := bus.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, e := range r.got {
				got = append(got, slices.IndexFunc(all, func(a events.Event) bool { return a.ID == e.ID }))
				if m, ok := e.Data.(events.MessageData); ok && m.Payload != nil {
					t.Error("the payload came along")
				}
			}
			if !slices.Equal(got, tt.want) || s.Stats().Sent != uint64(len(got)) {
				t.Errorf("got %v, want %v, %+v", got, tt.want, s.Stats())
			}
		})
	}
}

// A target that stalls loses events of its own sink alone, and each is counted.
func TestStall(t *testing.T) {
	bus := events.NewBus(nil, nil)
	slow, quick := recorded{hold: make(chan bool)}, recorded{}
	a := sinks.Start(bus, sinks.Options{Name: "slow", Queue: 10}, &slow)
	b := sinks.Start(bus, sinks.Options{Name: "quick", Queue: 1000}, &quick)
	for i := range 1000 {
		bus.Publish(event(i))
	}
	if n := a.Stats(); n.Dropped < 989 || n.Dropped+uint64(n.Waiting) != 1000 {
		t.Errorf("%+v", n)
	}
	close(slow.hold)
	if err := bus.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(quick.got) != 1000 || b.Stats().Dropped != 0 || uint64(len(slow.got))+a.Stats().Dropped != 1000 {
		t.Errorf("%+v, %+v", a.Stats(), b.Stats())
	}
}

func readLines(t *testing.T, paths ...string) (details []string) {
	t.Helper()
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var e events.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			details = append(details, e.Data.(events.SystemData).Detail)
		}
	}
	return details
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	o := sinks.FileOptions{Path: path, MaxBytes: 64 << 10, Keep: 2, Log: slog.New(slog.DiscardHandler)}
	t.Run("rotates", func(t *testing.T) {
		f := sinks.NewFile(o)
		for i := range 3000 { // some 450 KB
			f.Take(event(i))
		}
		shut(t, f)
		got := readLines(t, path+".2", path+".1", path)
		if want := numbers(3000-len(got), 3000); !slices.Equal(got, want) || len(got) < 500 {
			t.Errorf("%d lines", len(got))
		}
		for _, p := range []string{path, path + ".1", path + ".2"} {
			if info, err := os.Stat(p); err != nil || info.Size() > o.MaxBytes {
				t.Errorf("%s: %v", p, err)
			}
		}
		if _, err := os.Stat(path + ".3"); err == nil {
			t.Error("too many files are kept")
		}
		if n := f.Counts(); n.Sent != 3000 || n.Waiting != 0 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("begins anew where somebody has moved it away", func(t *testing.T) {
		f := sinks.NewFile(o)
		f.Take(event(1))
		brokertest.WaitFor(t, "a line", func() bool { return f.Counts().Sent == 1 })
		if err := os.Rename(path, path+".moved"); err != nil {
			t.Fatal(err)
		}
		f.Reopen()
		f.Take(event(2))
		shut(t, f)
		if got := readLines(t, path); !slices.Equal(got, []string{"2"}) {
			t.Error(got)
		}
	})
}

// What cannot be written is counted, and a pipe that nobody reads holds up
// nothing.
func TestFileFails(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/full", pipe, dir, filepath.Join(dir, "none", "x")} {
		t.Run(fmt.Sprintf("%q", filepath.Base(path)), func(t *testing.T) {
			f := sinks.NewFile(sinks.FileOptions{Path: path, MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
			for i := range 1000 {
				f.Take(event(i))
			}
			shut(t, f)
			if n := f.Counts(); n.Dropped != 1000 || n.Sent != 0 || n.Waiting != 0 || n.Errors == 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}
