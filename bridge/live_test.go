package bridge

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// liveRig is a rig whose uplink has another one for live messages, both at the
// rate of own.
func liveRig(t tb, own *Share, room int) (*rig, *Uplink) {
	r := &rig{t: t, v: wire.V5}
	bus := events.NewBus(nil, wire.MatchTopic)
	r.relay = relay.New(relay.DefaultConfig(), nil, bus, slog.New(slog.DiscardHandler))
	c := Config{Name: "up", URL: "mqtt://far", ClientID: "gateway", Dial: r.dial, Rules: Rules{{Direction: Out, Filter: "#", QoS: 2}},
		KeepAlive: 30 * time.Second, SessionExpiry: time.Hour, AckTimeout: 30 * time.Second, Backoff: DefaultBackoff(), Own: own, Share: NewShare(1000, 0), Rank: 1}
	live := c
	live.Name, live.Of, live.ClientID, live.Rank, live.Live = "up/live", "up", "gateway-live", 0, &Live{Of: "up", Messages: room, Bytes: 1 << 20}
	ups, err := New([]Config{c, live}, r.relay, bus, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%v", err)
	}
	r.up = ups[0]
	return r, ups[1]
}

func (r *rig) payloads() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Live messages and the backlog go at the rate that they have in common, live ones
// first.
func TestLiveRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, live := liveRig(t, NewShare(10, 0), 1000)
		for i := range 300 {
			r.publish("x", fmt.Sprint(i), 1+byte(i%2))
		}
		r.up.Start()
		live.Start()
		r.after(5 * time.Second)
		before := len(r.payloads())
		for i := range 20 {
			r.publish("x", fmt.Sprint("live", i), 1+byte(i%2))
		}
		r.after(15 * time.Second)
		got := r.payloads()
		if at := slices.Index(got, "live19"); at < 0 || at > before+20 {
			t.Errorf("the last live message is number %d; %d had come before the first was published", at, before)
		}
		if n := len(got); n < 190 || n > 205 {
			t.Errorf("%d came in 20s; want 10 per second", n)
		}
		stopLive(r, live)
	})
}

// When more comes than the rate lets go, what comes by the connection for live
// messages has waited for no longer than the room there lets it; the rest follows
// in its order when there is time, and each comes once.
func TestLiveOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, rate, n = 20, 10, 600
		r, live := liveRig(t, NewShare(rate, 0), room)
		var byLive []string // by the connection for live messages, as they came
		conn := make(map[int]string)
		r.answer = func(c int, f wire.Frame) ([]byte, bool) {
			if f.Type == wire.CONNECT {
				k, err := wire.DecodeConnect(f)
				if err != nil {
					t.Errorf("%v", err)
				}
				conn[c] = k.ClientID
			}
			if f.Type == wire.PUBLISH && conn[c] == "gateway-live" {
				p, _ := wire.DecodePublish(f, wire.V5)
				byLive = append(byLive, string(p.Payload))
			}
			return nil, true
		}
		r.up.Start()
		live.Start()
		r.after(time.Second)
		for i := range n { // twice what goes
			r.publish("x", fmt.Sprint(i), 1)
			r.after(time.Second / rate / 2)
			r.locked(func() {
				if len(byLive) == 0 {
					return
				}
				var last int
				if _, err := fmt.Sscan(byLive[len(byLive)-1], &last); err != nil {
					t.Errorf("%v", err)
				}
				if i-last > 2*(room+5) { // so many are published while the room empties
					t.Errorf("after %d was published, %d is the last live message", i, last)
				}
			})
		}
		if st := r.up.Status(); st.Sent > n/10 || st.Queued < n/4 {
			t.Errorf("the backlog is %d, and %d of it were sent", st.Queued, st.Sent)
		}
		r.after(time.Minute)
		var backlog, all []int
		r.locked(func() {
			for _, p := range r.got {
				var i int
				if _, err := fmt.Sscan(p, &i); err != nil {
					t.Errorf("%v", err)
				}
				all = append(all, i)
				if !slices.Contains(byLive, p) {
					backlog = append(backlog, i)
				}
			}
		})
		if !slices.IsSorted(backlog) {
			t.Errorf("the backlog came as %v", backlog)
		}
		slices.Sort(all)
		if len(all) != n || len(slices.Compact(all)) != n {
			t.Errorf("%d came, %d of them once", len(all), len(slices.Compact(all)))
		}
		stopLive(r, live)
	})
}

// An uplink that is the way for another one's live messages needs that one.
func TestLiveOfNothing(t *testing.T) {
	r := relay.New(relay.DefaultConfig(), nil, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler))
	defer r.Close()
	for _, of := range []string{"", "other", "live"} {
		cfgs := []Config{{Name: "up", Rules: Rules{{Direction: Out, Filter: "#"}}}, {Name: "live", Of: "up", Live: &Live{Of: of}}}
		if _, err := New(cfgs, r, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("live messages of %q are taken", of)
		}
	}
}

func stopLive(r *rig, live *Uplink) {
	live.Stop()
	r.stop()
	r.relay.Close()
}
