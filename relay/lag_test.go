package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/relay"
)

// TestOldest: how long the oldest message has waited is known to a second.
func TestOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		p, s := b.connect("p"), b.connect("s", kept, receiveMaximum(1))
		s.sub(1, "t")
		oldest := func(want time.Duration, queued int) {
			t.Helper()
			info, _, _ := b.Session("s")
			if d := info.Oldest - want; d < 0 || d > time.Second || info.Queued != queued || info.OldestAtLeast {
				t.Errorf("%d queued, the oldest for %v (at least: %v); want %d, for %v", info.Queued, info.Oldest, info.OldestAtLeast, queued, want)
			}
		}
		info, _, _ := b.Session("s")
		if len(b.Lagging()) != 0 || info.Oldest != 0 {
			t.Errorf("%+v lag, the oldest has waited for %v; nothing was published", b.Lagging(), info.Oldest)
		}
		p.pub(1, "t=1")
		if l := b.Lagging(); len(l) != 0 {
			t.Errorf("%+v lag; the message is on its way", l)
		}
		time.Sleep(2500 * time.Millisecond)
		p.pub(1, "t=2")
		time.Sleep(10 * time.Second)
		p.pub(1, "t=3")
		oldest(10*time.Second, 2)
		if l := b.Lagging(); len(l) != 1 || l[0].ClientID != "s" || l[0].Queued != 2 || l[0].Oldest < 10*time.Second {
			t.Errorf("%+v lag", l)
		}
		s.settle()
		oldest(0, 0)
		s.end()
		p.pub(1, "t=4")
		time.Sleep(30 * time.Minute)
		oldest(30*time.Minute, 1)
		if l := b.Lagging(); len(l) != 0 {
			t.Errorf("%+v lag, and are not even connected", l)
		}
		slow := b.connect("slow")
		slow.sub(0, "u")
		slow.link.stall(0)
		p.pub(0, "u=1")
		if l := b.Lagging(); len(l) != 1 || l[0].ClientID != "slow" || l[0].Pending == 0 {
			t.Errorf("%+v lag", l)
		}
		slow.link.grant(-1)
	})
}

// TestOldestOfTheStore: what the store brings does not say since when it waits.
func TestOldestOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := newStored(t)
		m := relay.Stored("t", []byte("x"), nil, "p", 1, false, 0, relay.Sync, 1)
		b.Restore(relay.Recovered{LastSession: 1, Sessions: []*relay.SessionState{{
			ID: 1, Terms: relay.Terms{ClientID: "s", Expiry: 60}, NextSeq: 1, Front: []relay.Entry{{Seq: 1, QoS: 1, Body: 1, Message: m}},
		}}})
		if info, _, _ := b.Session("s"); !info.OldestAtLeast || info.Queued != 1 || info.Oldest != 0 {
			t.Errorf("%+v", info)
		}
	})
}
