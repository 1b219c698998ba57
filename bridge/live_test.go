package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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

// Who is hurried while an attempt is under way makes one at once if that fails, and
// not if it has got through.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer{Backoff: Backoff{Min: time.Minute, Max: time.Minute, Stable: time.Second}}
		wait := func(least, most time.Duration) {
			t.Helper()
			began := time.Now()
			if p.wait(t.Context()) {
				t.Error("it is over")
			}
			if took := time.Since(began); took < least || took > most {
				t.Errorf("it waited for %v", took)
			}
		}
		wait(0, 0)
		wait(45*time.Second, time.Minute)
		p.hurry()
		wait(0, 0)
		wait(45*time.Second, time.Minute)
		p.hurry()
		p.up()
		p.hurry()
		p.down()
		wait(45*time.Second, time.Minute)
		time.AfterFunc(time.Second, p.hurry)
		wait(time.Second, time.Second)
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if !p.wait(ctx) {
			t.Error("it is not over")
		}
	})
}

// When the line is back, and one of two connections is there, the other one does
// not wait for the end of its pause; when the far side lets both in and hangs up
// at once, neither makes the other one call more often than it would.
func TestLiveConnects(t *testing.T) {
	for _, v := range []wire.Version{wire.V5, wire.V311} {
		synctest.Test(t, func(t *testing.T) {
			r, live := liveRig(t, nil, 10)
			r.up.cfg.Version, live.cfg.Version, r.v = v, v, v
			r.up.far, live.far = r.up.newFar(), live.newFar()
			away, silent, dial := true, false, r.up.cfg.Dial
			let := func(ctx context.Context) (net.Conn, error) {
				gone, mute := false, false
				r.locked(func() { gone, mute = away, silent })
				if gone && mute {
					<-ctx.Done()
				}
				if gone {
					return nil, errors.New("no route")
				}
				<-time.After(5 * time.Millisecond)
				return dial(ctx)
			}
			r.up.cfg.Dial, live.cfg.Dial = let, let
			r.up.Start()
			r.after(700 * time.Millisecond)
			live.Start()
			for i := range 40 {
				r.locked(func() { away, silent = true, i%2 == 1 })
				for _, u := range []*Uplink{r.up, live} {
					u.fault("the line is gone")
				}
				r.after(time.Hour)
				r.locked(func() { away = false })
				for i := 0; r.up.Status().State != Up && live.Status().State != Up; i++ {
					if r.after(100 * time.Millisecond); i > 1300 {
						t.Fatal("neither has come back")
					}
				}
				if r.after(100 * time.Millisecond); i%2 == 1 { // an attempt may have begun before the line was back
					r.after(connectTimeout)
				}
				if one, two := r.up.Status(), live.Status(); one.State != Up || two.State != Up {
					t.Errorf("after an outage of an hour one is %s, the other one %s", one.State, two.State)
				}
				r.after(time.Minute)
			}
			r.locked(func() { r.life = func() time.Duration { return time.Millisecond } })
			for _, u := range []*Uplink{r.up, live} {
				u.fault("the line is gone")
			}
			before := r.up.Status().Attempts + live.Status().Attempts
			r.after(time.Hour)
			if n := r.up.Status().Attempts + live.Status().Attempts - before; n > 2*(8+41) { // up to 2 minutes, and then one in 90 to 120 s
				t.Errorf("a far side that hangs up was called %d times in an hour", n)
			}
			stopLive(r, live)
		})
	}
}
