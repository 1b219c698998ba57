package store_test

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
)

// small is the disk of a broker that has stored a bit of everything.
func small(t *testing.T) (disk *faultdisk.Disk) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, func(c *relay.Config, o *store.Options) { o.SegmentSize, c.SpillBytes = 4<<10, 600 })
		w.start()
		w.settle()
		sub, pub := w.client(kept("sub", 3600)), w.client(kept("pub", 3600))
		sub.subscribe(relay.Subscription{Filter: "t/#", QoS: 2})
		for i := range uint16(12) {
			pub.publish(fmt.Sprint("t/", i), strings.Repeat("x", 20), byte(1+i%2), i+1)
		}
		pub.publish("state", "on", 1, 20, retain)
		sub.leave()
		pass(5 * time.Second)
		disk = w.disk.Kill()
		w.stop()
	})
	return disk
}

// reopen starts a store on disk and describes what it has found. bad is whether
// it says that something is wrong.
func reopen(t *testing.T, disk journal.Disk) (found string, bad bool) {
	t.Helper()
	s, rec, report, err := store.Open(store.Options{Disk: disk, Level: relay.Sync, SegmentSize: 4 << 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("it does not start: %v", err)
	}
	defer s.Close()
	var lines []string
	for _, st := range rec.Sessions {
		line := fmt.Sprint(st.Terms, st.NextSeq, st.Sent, subsText{st.Subs}, st.Inbound, len(st.Chunks))
		for _, e := range slices.Concat(st.Front, st.Tail) {
			line += fmt.Sprint(" ", e.Seq, e.QoS, e.HalfAcked)
			if e.Until > 0 {
				line += fmt.Sprint(" until ", e.Until.Round(time.Minute), " ")
			}
			if e.Message != nil {
				line += e.Message.Topic + string(e.Message.Payload)
			}
		}
		for _, c := range st.Chunks {
			entries, err := s.Load(c.Ref)
			if err != nil {
				bad = true // said when the client comes to read them
			}
			for _, e := range entries {
				line += fmt.Sprint(" ", e.Seq, e.QoS, e.Message.Topic, string(e.Message.Payload))
			}
		}
		lines = append(lines, line)
	}
	for _, m := range rec.Retained {
		lines = append(lines, m.Topic+string(m.Payload))
	}
	return strings.Join(lines, "\n"), bad || len(report.Damage) > 0 || report.Unread > 0 || report.Lost > 0
}

// subsText words subscriptions; a Drain, which the first format had not, where
// there is one.
type subsText struct{ subs []relay.Subscription }

func (t subsText) String() string {
	var list []string
	for _, s := range t.subs {
		text := fmt.Sprint("{", s.Filter, " ", s.QoS, " ", s.NoLocal, " ", s.RetainAsPublished, " ", s.RetainHandling, " ", s.ID, "}")
		if s.Drain != nil {
			text += fmt.Sprintf("%+v", *s.Drain)
		}
		list = append(list, text)
	}
	return "[" + strings.Join(list, " ") + "]"
}

// Whatever bit of a store is wrong, it starts, and either has everything or
// says that it has not.
func TestEveryBitMatters(t *testing.T) {
	disk := small(t)
	whole, bad := reopen(t, disk.Kill())
	if bad || strings.Count(whole, "\n") < 2 {
		t.Fatalf("the store to be damaged has\n%s\ndamaged: %v", whole, bad)
	}
	step := 8
	switch {
	case os.Getenv("EDGEBROKER_THOROUGH") != "": // scripts/crash.sh --damage
		step = 1
	case testing.Short() || raceDetector:
		step = 67
	}
	flipped, told := 0, 0
	for _, name := range disk.Names() {
		data := disk.Get(name)
		end := len(data)
		for end > 0 && data[end-1] == 0 {
			end--
		}
		for bit := 0; bit < 8*end; bit += step {
			broken := disk.Clone()
			data := broken.Get(name)
			data[bit/8] ^= 1 << ((bit + bit/8) % 8) // at step 8 another bit of each byte
			broken.Put(name, data)
			found, bad := reopen(t, broken)
			flipped++
			if bad {
				told++
			}
			if found != whole && !bad {
				t.Fatalf("bit %d of %s is wrong; the store says nothing and has\n%s\ninstead of\n%s", bit, name, found, whole)
			}
		}
	}
	t.Logf("%d bits flipped, %d told", flipped, told)
	if told < flipped/10 {
		t.Errorf("%d of %d flipped bits were told", told, flipped)
	}
}

// Segments that are missing, or whose content is another's.
func TestSegmentsMixedUp(t *testing.T) {
	disk := small(t)
	whole, _ := reopen(t, disk.Kill())
	var segments []string
	for _, name := range disk.Names() {
		if strings.HasSuffix(name, ".seg") {
			segments = append(segments, name)
		}
	}
	if len(segments) < 3 {
		t.Fatalf("only %d segments", len(segments))
	}
	check := func(what string, broken *faultdisk.Disk) {
		if found, bad := reopen(t, broken); found != whole && !bad {
			t.Errorf("%s: the store says nothing and has\n%s\ninstead of\n%s", what, found, whole)
		}
	}
	for i, name := range segments {
		gone := disk.Clone()
		gone.Put(name, nil)
		check("without "+name, gone)
		cut := disk.Clone()
		cut.Put(name, cut.Get(name)[:100])
		check("cut "+name, cut)
		other := segments[(i+1)%len(segments)]
		swapped := disk.Clone()
		swapped.Put(name, disk.Get(other))
		swapped.Put(other, disk.Get(name))
		check("swapped "+name, swapped)
		stale := disk.Clone()
		stale.Put(name, disk.Get(other))
		check("stale "+name, stale)
	}
}
