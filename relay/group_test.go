package relay

import "testing"

// A session that has ended is still a member until its subscriptions have been
// removed. It must not swallow what others would read.
func TestEndedSessionIsNotPicked(t *testing.T) {
	g := &group{}
	gone, live := &Session{}, &Session{}
	gone.ended.Store(true)
	g.add(&subscription{Subscription: Subscription{QoS: 1}, session: gone}, nil)
	g.add(&subscription{Subscription: Subscription{QoS: 1}, session: live}, nil)
	for range 3 {
		if sub := g.pick("t", 1, nil); sub == nil || sub.session != live {
			t.Fatal("picked a session that has ended")
		}
	}
	if sub := g.pick("t", 1, live); sub != nil {
		t.Error("picked somebody when nobody was left")
	}
}
