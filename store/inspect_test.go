package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/internal/faultdisk"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// stocked is a store with retained messages, and with the sessions "away", in
// whose queue n messages wait, and "there", which is connected and has got as
// many.
func stocked(t *testing.T, disk journal.Disk, n int) *keeper {
	t.Helper()
	k := open(t, disk, nil)
	k.retain(t, "state/a", 5)
	k.retain(t, "state/b", 6)
	for _, id := range []string{"away", "there"} {
		p, _ := k.relay.Open(relay.Connect{ClientID: id, Version: wire.V5, Expiry: 3600, Username: "user-" + id})
		p.Attach(&pipe{})
		_, granted := p.Subscribe([]relay.Subscription{{Filter: "q/#", QoS: 1, RetainHandling: 2}, {Filter: "other", QoS: 2}}, &confirmed{})
		p.SendRetained(granted)
		p.Flush()
		if id == "away" {
			p.End(relay.End{})
		} else {
			t.Cleanup(func() { p.End(relay.End{}) })
		}
	}
	synctest.Wait()
	for i := range n {
		done := make(result, 1)
		if err := k.relay.Publish(relay.Outgoing{Topic: fmt.Sprint("q/", i), Payload: []byte(fmt.Sprint("payload ", i, strings.Repeat(".", 200))), QoS: 1}, done); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	return k
}

func inspect(t *testing.T, disk journal.Disk) *store.Contents {
	t.Helper()
	c, err := store.Inspect(disk)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// queue is what Messages tells of the session of a client, or of the retained
// ones for "".
func queue(t *testing.T, c *store.Contents, client string, payloads bool) (list []store.Held) {
	t.Helper()
	err := c.Messages(payloads, nil, func(h store.Held) error {
		if h.Session == nil && client == "" || h.Session != nil && h.Session.Terms.ClientID == client {
			list = append(list, h)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultdisk.New(1)
		if c := inspect(t, disk); !c.Empty() || len(c.Sessions) > 0 {
			t.Errorf("an empty disk holds %+v", c)
		}
		const n = 3000 // beyond what stays in memory
		k := stocked(t, disk, n)
		check := func(when string, c *store.Contents) {
			if c.Empty() || len(c.Damage) > 0 {
				t.Errorf("%s: empty %v, damage %v", when, c.Empty(), c.Damage)
			}
			if got := slices.Sorted(maps.Keys(c.Retained)); !slices.Equal(got, []string{"state/a", "state/b"}) {
				t.Errorf("%s: retained %q", when, got)
			}
			if len(c.Sessions) != 2 {
				t.Fatalf("%s: %d sessions", when, len(c.Sessions))
			}
			for i, id := range []string{"away", "there"} {
				st := c.Sessions[i]
				if st.Terms.ClientID != id || st.Terms.Username != "user-"+id || st.Terms.Expiry != 3600 || len(st.Subs) != 2 || store.Queued(st) != n {
					t.Errorf("%s: session %d: %+v, %d subscriptions, %d queued", when, i, st.Terms, len(st.Subs), store.Queued(st))
				}
				for _, payloads := range []bool{true, false} {
					list := queue(t, c, id, payloads)
					if len(list) != n {
						t.Fatalf("%s: %s has %d messages", when, id, len(list))
					}
					for j, h := range list {
						want := fmt.Sprint("payload ", j, strings.Repeat(".", 200))
						if h.Message == nil || h.Message.Topic != fmt.Sprint("q/", j) || h.Size != len(want) || h.Entry.QoS != 1 || h.Missing > 0 {
							t.Fatalf("%s: %s: message %d is %+v", when, id, j, h)
						}
						if got := string(h.Message.Payload); payloads && got != want || !payloads && got != "" {
							t.Fatalf("%s: %s: payload %d is %q", when, id, j, got)
						}
					}
				}
			}
			if list := queue(t, c, "", true); len(list) != 2 || list[1].Topic != "state/b" || string(list[1].Message.Payload) != "xxxxxx" {
				t.Errorf("%s: retained %+v", when, list)
			}
			if c.Wear.Written == 0 {
				t.Errorf("%s: wear %+v", when, c.Wear)
			}
		}
		before := diskState(disk)
		live := inspect(t, disk)
		check("while the broker runs", live)
		if len(live.Sessions[0].Chunks) == 0 || !live.Sessions[1].Attached || live.Sessions[0].Attached {
			t.Errorf("chunks %d, attached %v %v", len(live.Sessions[0].Chunks), live.Sessions[0].Attached, live.Sessions[1].Attached)
		}
		if !reflect.DeepEqual(diskState(disk), before) {
			t.Error("looking at the store has changed it")
		}
		k.close(t)
		check("after it has ended", inspect(t, disk))
	})
}

func diskState(d *faultdisk.Disk) map[string]string {
	out := make(map[string]string)
	for _, name := range d.Names() {
		out[name] = string(d.Get(name))
	}
	return out
}

// What Inspect tells is what a broker recovers, for whatever state devices and
// crashes have led to.
func TestInspectAgreesWithRecovery(t *testing.T) {
	var entries, chunks, halfAcked, inbound int
	defer func() {
		if entries == 0 || chunks == 0 || halfAcked == 0 || inbound == 0 {
			t.Errorf("%d entries, %d chunks, %d half acknowledged, %d inbound: not everything has been tried", entries, chunks, halfAcked, inbound)
		}
	}()
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed, func(c *relay.Config, _ *store.Options) { c.SpillBytes, c.TotalQueuedBytes = 500, 4000 })
			w.start()
			for range 300 {
				w.step()
			}
			w.settle()
			disk := w.disk.Kill()
			w.stop()

			c := inspect(t, disk)
			s, rec, _, err := store.Open(store.Options{Disk: disk, Level: relay.Sync, SegmentSize: 8 << 10, Log: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if len(c.Sessions) != len(rec.Sessions) || len(c.Retained) != len(rec.Retained) {
				t.Fatalf("seed %d: %d sessions and %d retained, recovered %d and %d", seed, len(c.Sessions), len(c.Retained), len(rec.Sessions), len(rec.Retained))
			}
			for i, st := range rec.Sessions {
				got := c.Sessions[i]
				var want []string
				add := func(list []relay.Entry) {
					for _, e := range list {
						line := fmt.Sprint(e.Seq, e.QoS, e.HalfAcked)
						entries++
						if e.HalfAcked {
							halfAcked++
						}
						if e.Message != nil {
							line += e.Message.Topic + string(e.Message.Payload)
						}
						want = append(want, line)
					}
				}
				chunks += len(st.Chunks)
				inbound += len(st.Inbound)
				add(st.Front)
				for _, chunk := range st.Chunks {
					list, err := s.Load(chunk.Ref)
					if err != nil {
						t.Fatal(err)
					}
					add(list)
				}
				add(st.Tail)
				var have []string
				for _, h := range queue(t, c, st.Terms.ClientID, true) {
					line := fmt.Sprint(h.Entry.Seq, h.Entry.QoS, h.Entry.HalfAcked)
					if h.Message != nil {
						line += h.Message.Topic + string(h.Message.Payload)
					}
					have = append(have, line)
				}
				if got.Terms != st.Terms || !reflect.DeepEqual(got.Subs, st.Subs) || !slices.Equal(got.Inbound, st.Inbound) || !slices.Equal(have, want) {
					t.Fatalf("seed %d: session %+v has\n%q\nrecovered %+v with\n%q", seed, got.Terms, have, st.Terms, want)
				}
			}
		})
	}
}

// A damaged store tells what is missing, and the rest.
func TestInspectDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultdisk.New(1)
		stocked(t, disk, 1000).close(t)
		left := disk.Clone()
		whole := len(queue(t, inspect(t, left), "away", false))
		found := 0
		for _, name := range left.Names() {
			data := left.Get(name)
			at := strings.Index(string(data), "payload 500.")
			if at < 0 {
				continue
			}
			found++
			data[at] ^= 1
			left.Put(name, data)
		}
		if found != 1 || whole != 1000 {
			t.Fatalf("the message is there %d times, %d wait", found, whole)
		}
		c := inspect(t, left)
		if len(c.Damage) == 0 {
			t.Error("no damage found")
		}
		list := queue(t, c, "away", true)
		missing := 0
		for _, h := range list {
			missing += h.Missing
		}
		if len(list) != 1000 || missing != 1 || list[500].Message != nil || list[500].Missing != 1 {
			t.Errorf("%d messages, %d missing, message 500: %+v", len(list), missing, list[500])
		}
	})
}

func TestInspectNewerVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faultdisk.New(1)
		stocked(t, disk, 1).close(t)
		for _, name := range disk.Names() {
			if data := disk.Get(name); strings.HasSuffix(name, ".seg") {
				disk.Put(name, newerVersion(data))
			}
		}
		var newer *journal.VersionError
		if _, err := store.Inspect(disk); !errors.As(err, &newer) {
			t.Errorf("got %v", err)
		}
	})
}

// newerVersion is segment as a later program might write it.
func newerVersion(segment []byte) []byte {
	out := slices.Clone(segment)
	binary.LittleEndian.PutUint32(out[8:], 2)
	binary.LittleEndian.PutUint32(out[508:], crc32.Checksum(out[:508], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
