package appliance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A test of an uplink says whether the bucket is there, what it does not do, and
// what the user may not.
func TestBridgeTestBucket(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	o.Users = []*server.User{{Username: "gw", Password: "pw", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"t", "t.>", "$JS.API.>", "$SYS.REQ.USER.INFO"}}}}}
	s := natsServer(t, o)
	_, js := natsClient(t, s, nats.UserInfo("gw", "pw"))
	b := keeping(o, "gw")
	pw := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(pw, []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Username, b.Password = "gw", appliance.SecretRef("file:"+pw)
	if done := probeOf(t, b, false); done.OK || !strings.Contains(said(done), `bucket failed: bucket "B": bucket not found; make it there`) {
		t.Errorf("without a bucket:\n%s", said(done))
	}
	const forgets, expires, right = "the bucket forgets values after 1h0m0s", "the bucket does not remove values that have expired", "this user may not publish to all of $KV.B.>"
	for _, c := range []struct {
		ttl, marker time.Duration
		history     uint8
		notes       []string
	}{
		{0, 0, 1, []string{expires}},
		{time.Hour, 0, 1, []string{expires, forgets}},
		{time.Hour, time.Hour, 1, nil},
		{0, time.Hour, 2, []string{expires}},
	} {
		if err := js.DeleteKeyValue(t.Context(), "B"); err != nil && c.ttl+c.marker > 0 {
			t.Fatal(err)
		}
		makeBucket(t, js, func(k *jetstream.KeyValueConfig) { k.TTL, k.LimitMarkerTTL, k.History = c.ttl, c.marker, c.history })
		done := probeOf(t, b, false)
		text := said(done)
		if !done.OK || !strings.Contains(text, `bucket ok: "B" has 0 values and marks of deletion; 1 replicas, File`) || !strings.Contains(text, right) {
			t.Errorf("%+v:\n%s", c, text)
		}
		for _, note := range []string{forgets, expires} {
			want := false
			for _, n := range c.notes {
				want = want || n == note
			}
			if strings.Contains(text, note) != want {
				t.Errorf("%+v: %q is there: %v; want %v\n%s", c, note, !want, want, text)
			}
		}
	}
	b.Topics[0].Direction = appliance.BridgeIn
	if text := said(probeOf(t, b, false)); strings.Contains(text, right) {
		t.Errorf("it does not write:\n%s", text)
	}
}
