package store_test

import (
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
)

// stable waits until what s was told is stable, and then until all is quiet.
func stable(t *testing.T, s *store.Store) {
	t.Helper()
	done := make(result, 1)
	s.Commit(relay.Sync, done)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// A chunk has been read into memory, and nothing of it was sent. A checkpoint
// then moves its bodies and gives up where they were; the process ends before
// it has recorded the session. What the log knows is the chunk.
func TestBodiesOfALoadedChunkMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultdisk.New(1)
		opts := store.Options{Disk: disk, Level: relay.Sync, SegmentSize: 8 << 10, Log: quiet()}
		s, _, _, err := store.Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		const size = 100
		keep := func(payload string) relay.Ref {
			ref := s.Record(relay.Change{Kind: relay.Body, Message: relay.Stored("t", []byte(payload), nil, "p", 1, false, 0, relay.Sync, 0)})
			s.Hold(ref, size)
			return ref
		}
		bodies := []relay.Ref{keep("first"), keep("second")}
		st := &relay.SessionState{ID: 1, Terms: relay.Terms{ClientID: "c", Expiry: 3600}, NextSeq: 2}
		c := relay.Chunk{First: 1, Last: 2, Entries: 2, Bytes: 2 * size, Holds: []relay.Hold{{Ref: bodies[0], Bytes: 2 * size}}}
		entries := []relay.Entry{{Seq: 1, QoS: 1, Body: bodies[0]}, {Seq: 2, QoS: 1, Body: bodies[1]}}
		s.Record(relay.Change{Kind: relay.Opened, Session: 1, Terms: st.Terms})
		// The chunk lies where the bodies do not.
		if err := s.Journal().Checkpoint(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		c.Ref = s.Record(relay.Change{Kind: relay.Spilled, Session: 1, Chunk: c, Entries: entries})
		s.Hold(c.Ref, size)
		st.Chunks = []relay.Chunk{c}
		whole := func() error {
			s.Record(relay.Change{Kind: relay.Whole, Session: 1, State: st})
			return nil
		}
		if err := s.Journal().Checkpoint(whole); err != nil {
			t.Fatal(err)
		}

		var left *faultdisk.Disk
		err = s.Journal().Checkpoint(func() error {
			for _, ref := range bodies {
				if !s.Vacate(ref) {
					t.Fatalf("the body at %#x may stay", ref)
				}
			}
			for i, payload := range []string{"first", "second"} {
				s.Record(relay.Change{Kind: relay.Moved, Ref: bodies[i], To: keep(payload)})
				s.Release(bodies[i], size)
			}
			stable(t, s)
			if s.Journal().Kept(journal.Pos(bodies[0])) {
				t.Error("where the bodies were was not given up: this shows nothing")
			}
			left = disk.Clone()
			return whole()
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		contents := inspect(t, left)
		opts.Disk = left
		s, rec, report, err := store.Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if report.Unread > 0 || len(rec.Sessions) != 1 {
			t.Fatalf("%d messages unread, %d sessions", report.Unread, len(rec.Sessions))
		}
		list := rec.Sessions[0].Front
		for _, c := range rec.Sessions[0].Chunks {
			more, err := s.Load(c.Ref)
			if err != nil {
				t.Error(err)
			}
			list = append(list, more...)
		}
		if len(list) != 2 || string(list[0].Message.Payload) != "first" || string(list[1].Message.Payload) != "second" {
			t.Errorf("recovered %+v", list)
		}
		held := queue(t, contents, "c", true)
		if len(held) != 2 || held[0].Missing+held[1].Missing > 0 || string(held[0].Message.Payload) != "first" || string(held[1].Message.Payload) != "second" {
			t.Errorf("inspected %+v", held)
		}
	})
}
