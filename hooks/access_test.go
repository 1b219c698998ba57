package hooks_test

import (
	"testing"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

func TestAccess(t *testing.T) {
	method := brokertest.Clean(wire.V5, "c")
	method.HasAuthMethod, method.AuthMethod = true, "SCRAM-SHA-1"
	password := brokertest.Clean(wire.V311, "c")
	password.HasUsername, password.Username, password.HasPassword, password.Password = true, "ann", true, []byte("secret")
	empty := password
	empty.Password = nil
	for _, tc := range []struct {
		name    string
		open    bool
		connect wire.Connect
		want    wire.Reason
		refusal wire.Reason
	}{
		{"anonymous", true, brokertest.Clean(wire.V5, "c"), wire.Success, 0},
		{"with a password that nobody asked for", true, password, wire.Success, 0},
		{"with an empty password", true, empty, wire.Success, 0},
		{"with an authentication method", true, method, wire.BadAuthMethod, wire.BadAuthMethod},
		{"anonymous 5 where none may", false, brokertest.Clean(wire.V5, "c"), wire.NotAuthorized, wire.NotAuthorized},
		{"anonymous 3.1.1 where none may", false, brokertest.Clean(wire.V311, "c"), wire.NotAuthorized, wire.NotAuthorized},
		{"anonymous 3.1 where none may", false, brokertest.Clean(wire.V31, "c"), wire.NotAuthorized, wire.NotAuthorized},
		{"with a password where none helps", false, password, wire.NotAuthorized, wire.NotAuthorized},
		{"with an authentication method where none may", false, method, wire.BadAuthMethod, wire.BadAuthMethod},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.open, nil, nil)
			tc.connect.Will = &wire.Will{Topic: "will"}
			c := brokertest.DialAny(t, r.addr, tc.connect)
			if c.Connack.Reason != tc.want {
				t.Errorf("CONNACK says %v, want %v", c.Connack.Reason, tc.want)
			}
			if tc.want == wire.Success {
				c.Disconnect()
				r.paired(t, 1)
				if r.access.Refused() != 0 {
					t.Error("counted as refused")
				}
				return
			}
			c.ExpectClosed()
			c.Conn().Close() // else the broker lingers
			list := r.await(t, events.Refusal, 1)
			d := list[0].Data.(events.RefusalData)
			if len(list) != 1 || d.What != "connect" || d.ClientID != "c" || d.Reason != tc.refusal.String() || d.Remote != c.Conn().LocalAddr().String() {
				t.Errorf("refusals %+v", list)
			}
			r.paired(t, 0)
			if n := r.access.Refused(); n != 1 {
				t.Errorf("%d counted as refused", n)
			}
			if m := r.of(events.Message); len(m) > 0 {
				t.Errorf("published %+v", m)
			}
			if n := r.relay.Totals().Sessions; n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}
