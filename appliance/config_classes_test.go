package appliance

import (
	"testing"

	"github.com/synthetism/edgebroker/relay"
)

func TestSessionClasses(t *testing.T) {
	c, err := ParseConfig("eb.yml", []byte(`
storage: {directory: /x}
sessions:
  max_queued_messages: 1000
  max_queued_bytes: 2MiB
  classes:
    - {clients: "panel-*", users: ops, max_queued_messages: 10}
    - {clients: "panel-*-[x].*", when_full: drop_newest}
    - {clients: "panel-*", when_full: drop_oldest, max_queued_bytes: 1MiB}
    - {users: "*guest", max_queued_messages: 5}
`))
	if err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	all, of := c.queueRules()
	if want := (relay.QueueRules{MaxQueued: 1000, MaxQueuedBytes: 2 * mib, WhenFull: relay.Refuse}); all != want {
		t.Errorf("all: got %+v; want %+v", all, want)
	}
	for _, tt := range []struct {
		client, user string
		want         relay.QueueRules
	}{
		{"panel-1", "ops", relay.QueueRules{MaxQueued: 10, MaxQueuedBytes: 2 * mib, WhenFull: relay.Refuse}},
		{"panel-1", "ops2", relay.QueueRules{MaxQueued: 1000, MaxQueuedBytes: mib, WhenFull: relay.DropOldest}},
		{"panel-\n", "", relay.QueueRules{MaxQueued: 1000, MaxQueuedBytes: mib, WhenFull: relay.DropOldest}},
		{"panel-1-[x].y", "", relay.QueueRules{MaxQueued: 1000, MaxQueuedBytes: 2 * mib, WhenFull: relay.DropNewest}},
		{"panel-1-x.y", "guest", relay.QueueRules{MaxQueued: 1000, MaxQueuedBytes: mib, WhenFull: relay.DropOldest}},
		{"a panel-1", "a guest", relay.QueueRules{MaxQueued: 5, MaxQueuedBytes: 2 * mib, WhenFull: relay.Refuse}},
		{"panel", "guests", all},
		{"", "", all},
	} {
		if got := of(tt.client, tt.user); *got != tt.want {
			t.Errorf("%q of %q: got %+v; want %+v", tt.client, tt.user, *got, tt.want)
		}
	}
	if _, of := DefaultConfig().queueRules(); of != nil {
		t.Error("classes without any")
	}
}
