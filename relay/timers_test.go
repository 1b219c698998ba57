package relay

import (
	"log/slog"
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/wire"
)

// A timer that has fired but comes late must not act on a later absence.
func TestLateTimers(t *testing.T) {
	r := New(DefaultConfig(), nil, events.NewBus(nil, wire.MatchTopic), slog.New(slog.DiscardHandler))
	defer r.Close()
	open := func() *Port {
		p, _ := r.Open(Connect{ClientID: "c", Version: wire.V5, Expiry: 100, Will: &wire.Will{Topic: "w", Delay: 50, Retain: true, Payload: []byte("x")}})
		return p
	}
	first := open()
	first.End(End{Will: true})
	second := open()
	second.End(End{Will: true})
	first.session.publishDelayed(first.serial)
	if n, _ := r.retained.totals(); n != 0 {
		t.Error("the timer of the first absence has published the will of the second")
	}
	r.remove(first.session, first.serial)
	if n := r.Totals().Sessions; n != 1 {
		t.Error("the timer of the first absence has ended the second")
	}
	second.session.publishDelayed(second.serial)
	r.remove(second.session, second.serial)
	if n, _ := r.retained.totals(); n != 1 || r.Totals().Sessions != 0 {
		t.Error("the timers of the second absence do nothing")
	}
}
