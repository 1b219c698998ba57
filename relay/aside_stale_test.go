package relay

import (
	"log/slog"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/wire"
)

// Nothing goes aside any more once Resubscribe has said so, though a publisher
// may have looked up where to before: the session may be about to be discarded.
func TestStaleAside(t *testing.T) {
	r := New(DefaultConfig(), nil, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler))
	defer r.Close()
	var ports []*Port
	for _, id := range []string{"up", "live"} {
		p, err := r.Open(Connect{ClientID: id, Version: wire.V5, Expiry: wire.NoExpiry})
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	both := func(a *Aside) {
		if _, err := r.Resubscribe([]Wanted{{Port: ports[0], Aside: a}, {Port: ports[1]}}); err != nil {
			t.Fatal(err)
		}
	}
	both(&Aside{Port: ports[1], Messages: 10, Bytes: 1 << 20})
	found := ports[0].session.aside.Load()
	ports[1].Attach(nothing{})
	m := []delivery{{msg: &Message{Topic: "t", QoS: 1}, qos: 1}}
	if left, _ := found.take(m); len(left) != 0 {
		t.Error("nothing has gone aside")
	}
	both(nil)
	if left, _ := found.take(m); len(left) != 1 {
		t.Error("it has gone aside after all")
	}
}

// nothing is a Link that takes everything.
type nothing struct{}

func (nothing) Send(b []byte) int             { return len(b) }
func (nothing) SendShared(head, _ []byte) int { return len(head) }
func (nothing) Pending() int                  { return 0 }
func (nothing) Flush()                        {}
func (nothing) Ended() bool                   { return false }
func (nothing) Kick(wire.Reason, string)      {}
