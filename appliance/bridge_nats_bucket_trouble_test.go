package appliance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// Of what two gateways, and others, have changed while they did not know of each
// other, the newest wins, whoever comes first.
func TestBucketNewestWins(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	var cfg [2]appliance.Config
	var gw [2]*appliance.Broker
	var pub [2]*brokertest.Client
	for i := range gw {
		cfg[i] = config(t)
		cfg[i].Sys.Node = fmt.Sprint("gw", i)
		cfg[i].Bridges = []appliance.BridgeConfig{keeping(o, fmt.Sprint("gw", i))}
		gw[i] = launch(t, cfg[i])
		is(t, gw[i], bridge.Up)
		pub[i] = client(t, gw[i], "pub")
	}
	write := func(by int, topic, value string) {
		t.Helper()
		if by < 2 {
			pub[by].Publish(topic, value, 1, true)
			return
		}
		if value == "" {
			if err := kv.Delete(t.Context(), bridge.TopicKey(topic)); err != nil {
				t.Fatal(err)
			}
		} else if _, err := kv.PutString(t.Context(), bridge.TopicKey(topic), value); err != nil {
			t.Fatal(err)
		}
	}
	all := [][3]string{{"a", "b", "c"}, {"a", "b", ""}, {"", "a", "b"}, {"a", "", "b"}, {"a", "b", "a"}}
	topicOf := func(round int, values [3]string) string {
		return fmt.Sprintf("t/%d/%s", round, strings.Join(values[:], "-"))
	}
	for round, c := range []struct {
		by    [3]int // one after the other; a gateway, or 2
		first int    // who connects again first
	}{{[3]int{0, 1, 0}, 0}, {[3]int{0, 1, 0}, 1}, {[3]int{0, 2, 1}, 0}, {[3]int{0, 2, 1}, 1}, {[3]int{0, 1, 2}, 0}, {[3]int{1, 0, 1}, 0}} {
		for _, values := range all {
			topic := topicOf(round, values)
			write(0, topic, "before")
			retains(t, gw[1], topic, "before")
		}
		for i := range gw {
			pause(t, cfg[i], "up", true)
		}
		for i, by := range c.by {
			begun := time.Now() // clocks agree to within a round trip, which takes longer on a busy machine
			brokertest.WaitFor(t, "another time", func() bool { return time.Since(begun) > 300*time.Millisecond })
			for _, values := range all {
				write(by, topicOf(round, values), values[i])
			}
		}
		for _, i := range []int{c.first, 1 - c.first} {
			pause(t, cfg[i], "up", false)
			is(t, gw[i], bridge.Up)
			relayed(t, gw[i])
		}
		for _, values := range all {
			topic := topicOf(round, values)
			for i := range gw {
				retains(t, gw[i], topic, values[2])
			}
			hasValue(t, kv, bridge.TopicKey(topic), values[2])
		}
	}
}

// While everybody writes to the same topics and lines fail, nobody is stuck, and
// in the end all have the same.
func TestBucketStorm(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	const topics, rounds = 7, 60
	var gw [3]*appliance.Broker
	var lines [3]*line
	for i := range gw {
		lines[i] = newLine(t, s.Addr().String())
		cfg := config(t)
		cfg.Sys.Node = fmt.Sprint("gw", i)
		cfg.Bridges = []appliance.BridgeConfig{keeping(o, fmt.Sprint("gw", i))}
		cfg.Bridges[0].Address, cfg.Bridges[0].NATS.Window = "nats://"+lines[i].Addr().String(), 5
		gw[i] = launch(t, cfg)
		is(t, gw[i], bridge.Up)
	}
	var wg sync.WaitGroup
	for i := range gw {
		for c := range 2 {
			pub := client(t, gw[i], fmt.Sprint("pub", c))
			wg.Go(func() {
				for n := range rounds {
					value := fmt.Sprint(i, c, n)
					if n%5 == 4 {
						value = ""
					}
					pub.Publish(fmt.Sprint("t/", (n*(c+1)+i)%topics), value, byte(n%3), true)
					if n%20 == 19 && c == 0 {
						lines[i].cut()
					}
				}
			})
		}
	}
	wg.Wait()
	for i := range gw {
		pub := client(t, gw[i], "last")
		pub.Ping()
	}
	brokertest.WaitFor(t, "the same everywhere", func() bool {
		for _, b := range gw {
			if st := b.Uplinks()[0]; st.Queued+st.InFlight > 0 || st.State != bridge.Up {
				return false
			}
		}
		for n := range topics {
			topic := fmt.Sprint("t/", n)
			want := inBucket(t, kv, bridge.TopicKey(topic))
			for _, b := range gw {
				if got, _ := b.Retained(topic); got != want {
					return false
				}
			}
		}
		return true
	})
	for _, b := range gw {
		balanced(t, b)
	}
}

// A bucket that is not there is waited for; one that is deleted and made anew is
// filled again.
func TestBucketIsMadeLater(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	pub.Publish("t/a", "1", 0, true)
	brokertest.WaitFor(t, "what is wrong", func() bool {
		return strings.Contains(near.Uplinks()[0].LastError, `bucket "B": bucket not found; make it there`)
	})
	kv := makeBucket(t, js, nil)
	hasValue(t, kv, "t.a", "1")
	if _, err := kv.PutString(t.Context(), "t.b", "2"); err != nil {
		t.Fatal(err)
	}
	retains(t, near, "t/b", "2")
	if err := js.DeleteKeyValue(t.Context(), "B"); err != nil {
		t.Fatal(err)
	}
	kv = makeBucket(t, js, nil)
	hasValue(t, kv, "t.a", "1")
	retains(t, near, "t/b", "")
	if _, err := kv.PutString(t.Context(), "t.c", "3"); err != nil {
		t.Fatal(err)
	}
	retains(t, near, "t/c", "3")
	pub.Publish("t/d", "4", 1, true)
	hasValue(t, kv, "t.d", "4")
}

// What the bucket refuses for now goes later; what it can never take is a dead
// letter, and goes when it can.
func TestBucketRefuses(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	full := func(c *jetstream.KeyValueConfig) { c.MaxBytes, c.MaxValueSize = 6000, 3000 }
	kv := makeBucket(t, js, full)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	control := statsd.Dial(cfg.Control.Socket)
	defer control.Close()
	pub := client(t, near, "pub")
	large, long := strings.Repeat("x", 3500), "t/"+strings.Repeat("é", 1000)
	pub.Publish("t/large", "small", 1, true)
	hasValue(t, kv, "t.large", "small")
	pub.Publish("t/large", large, 1, true)
	pub.Publish(long, "x", 2, true)
	brokertest.WaitFor(t, "two dead letters", func() bool { return near.Uplinks()[0].Dead == 2 })
	relayed(t, near)
	for i := range 3 {
		pub.Publish(fmt.Sprint("t/", i), strings.Repeat("y", 2000), 1, true)
	}
	st := is(t, near, bridge.Stalled)
	if !strings.Contains(st.Why, "the bucket does not take a value for now") {
		t.Errorf("stalled, since %q", st.Why)
	}
	kv = makeBucket(t, js, nil)
	is(t, near, bridge.Up)
	relayed(t, near)
	for i := range 3 {
		hasValue(t, kv, fmt.Sprint("t.", i), strings.Repeat("y", 2000))
	}
	hasValue(t, kv, "t.large", "small")
	letters, err := control.DeadLetters(t.Context(), "up")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters.Letters {
		if l.Topic == "t/large" && !strings.Contains(l.Why, "exceeds") || l.Topic == long && !strings.Contains(l.Why, "too long for a key") {
			t.Errorf("%.20s: %s", l.Topic, l.Why)
		}
	}
	if n, err := control.EndDeadLetters(t.Context(), "up", true); n != 2 || err != nil {
		t.Fatalf("%d sent again, %v", n, err)
	}
	hasValue(t, kv, "t.large", large)
	relayed(t, near)
	brokertest.WaitFor(t, "a dead letter", func() bool { return near.Uplinks()[0].Dead == 1 })
	retains(t, near, "t/large", large)
	balanced(t, near)
}

// A gateway that has no room for what comes in takes it when it has.
func TestBucketNoRoomHere(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	cfg := config(t)
	cfg.Retained.MaxMessages = 2
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	pub.Publish("other", "takes room", 1, true)
	for _, key := range []string{"t.a", "t.b"} {
		if _, err := kv.PutString(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	brokertest.WaitFor(t, "a refusal", func() bool { return near.Uplinks()[0].Refused > 0 && len(near.RetainedTopics("t/#")) == 1 })
	pub.Publish("other", "", 1, true)
	retains(t, near, "t/a", "x")
	retains(t, near, "t/b", "x")
}

// A message expires on both sides: by the server where it does that, and else by
// what the header says.
func TestBucketExpiry(t *testing.T) {
	for _, removes := range []bool{true, false} {
		t.Run(fmt.Sprintf("the server removes %v", removes), func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			s := natsServer(t, o)
			_, js := natsClient(t, s)
			kv := makeBucket(t, js, func(c *jetstream.KeyValueConfig) {
				if removes {
					c.LimitMarkerTTL = time.Hour
				}
			})
			a, b := config(t), config(t)
			a.Sys.Node, b.Sys.Node = "a", "b"
			a.Bridges, b.Bridges = []appliance.BridgeConfig{keeping(o, "a")}, []appliance.BridgeConfig{keeping(o, "b")}
			one, two := launch(t, a), launch(t, b)
			is(t, one, bridge.Up)
			is(t, two, bridge.Up)
			pub := client(t, one, "pub")
			pub.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Retain: true, Topic: []byte("t/short"), Payload: []byte("x"), HasExpiry: true, Expiry: 2})
			pub.Publish("t/long", "y", 1, true)
			retains(t, two, "t/short", "x")
			retains(t, two, "t/long", "y")
			retains(t, two, "t/short", "")
			retains(t, one, "t/short", "")
			if removes {
				hasValue(t, kv, "t.short", "")
			}
			c := config(t)
			c.Sys.Node = "c"
			c.Bridges = []appliance.BridgeConfig{keeping(o, "c")}
			late := launch(t, c)
			retains(t, late, "t/long", "y")
			retains(t, late, "t/short", "")
			client(t, late, "pub").Publish("t/short", "again", 1, true)
			retains(t, one, "t/short", "again")
		})
	}
}

// After an outage only what has changed comes.
func TestBucketResumes(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	const n = 200 // by far more than there are answers to questions
	for i := range n {
		if _, err := kv.PutString(t.Context(), fmt.Sprint("t.", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
	near := launch(t, cfg)
	retains(t, near, fmt.Sprint("t/", n-1), "x")
	sub := client(t, near, "sub")
	sub.Subscribe(1, "t/#")
	for range n {
		sub.ExpectPublish()
	}
	pause(t, cfg, "up", true)
	if _, err := kv.PutString(t.Context(), "t.7", "y"); err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "t.8"); err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "t.9"); err != nil {
		t.Fatal(err)
	}
	if err := kv.PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1)); err != nil { // not even marks are left
		t.Fatal(err)
	}
	pause(t, cfg, "up", false)
	got := map[string]string{}
	for range 3 {
		p := sub.ExpectPublish()
		got[string(p.Topic)] = string(p.Payload)
	}
	if fmt.Sprint(got) != "map[t/7:y t/8: t/9:]" {
		t.Errorf("got %v", got)
	}
	sub.ExpectNothing()
	list, err := s.Connz(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Conns {
		if c.Name == "gw" && c.OutMsgs > n/2 {
			t.Errorf("the gateway was sent %d messages", c.OutMsgs)
		}
	}
}

// A user needs no more rights than docs/NATS.md says, and each of them.
func TestBucketRights(t *testing.T) {
	doc, err := os.ReadFile("../docs/NATS.md")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"$KV.B.>", "$JS.API.STREAM.INFO.KV_B", "$JS.API.STREAM.MSG.GET.KV_B", "$JS.API.CONSUMER.CREATE.KV_B.>", "$JS.API.CONSUMER.DELETE.KV_B.*", "$JS.API.CONSUMER.MSG.NEXT.KV_B.*"}
	for _, subject := range all {
		if !strings.Contains(string(doc), "`"+strings.NewReplacer("KV_B", "KV_STATE", "KV.B", "KV.STATE").Replace(subject)+"`") {
			t.Errorf("docs/NATS.md does not name %s", subject)
		}
	}
	pw := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(pw, []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, without := range append([]string{""}, all...) {
		t.Run("without "+without, func(t *testing.T) {
			brokertest.NoLeaks(t)
			o := natsOptions(t)
			var may []string
			for _, subject := range all {
				if subject != without {
					may = append(may, subject)
				}
			}
			o.Users = []*server.User{{Username: "all", Password: "pw"}, {Username: "gw", Password: "pw", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: append(may, "t", "t.>")}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "t", "t.>"}}}}}
			s := natsServer(t, o)
			_, js := natsClient(t, s, nats.UserInfo("all", "pw"))
			kv := makeBucket(t, js, nil)
			if _, err := kv.PutString(t.Context(), "t.in", "x"); err != nil {
				t.Fatal(err)
			}
			cfg := config(t)
			cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw")}
			cfg.Bridges[0].Username, cfg.Bridges[0].Password = "gw", appliance.SecretRef("file:"+pw)
			near := launch(t, cfg)
			client(t, near, "pub").Publish("t/out", "y", 1, true)
			if without == "" {
				retains(t, near, "t/in", "x")
				hasValue(t, kv, "t.out", "y")
				return
			}
			brokertest.WaitFor(t, "what is missing", func() bool {
				last := strings.ToLower(near.Uplinks()[0].LastError)
				return strings.Contains(last, "permissions violation") && strings.Contains(last, strings.ToLower(strings.TrimRight(without, ".*>")))
			})
		})
	}
}

// What goes out by lanes gets into the bucket, and what comes in does not go out
// by one.
func TestBucketWithLanes(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	a, b := config(t), config(t)
	a.Sys.Node, b.Sys.Node = "a", "b"
	topics := []appliance.BridgeTopic{{Filter: "t/fast/#", Direction: appliance.BridgeBoth, QoS: 1, Lane: "fast"}, {Filter: "t/#", Direction: appliance.BridgeBoth, QoS: 1}}
	a.Bridges, b.Bridges = []appliance.BridgeConfig{keeping(o, "a", topics...)}, []appliance.BridgeConfig{keeping(o, "b", topics...)}
	for _, c := range []*appliance.Config{&a, &b} {
		c.Bridges[0].Lanes = []appliance.BridgeLane{{Name: "fast"}}
	}
	one, two := launch(t, a), launch(t, b)
	is(t, one, bridge.Up)
	is(t, two, bridge.Up)
	pub := client(t, one, "pub")
	for n := range 5 {
		for _, topic := range []string{"t/fast/x", "t/slow"} {
			pub.Publish(topic, fmt.Sprint(n), byte(n%3), true)
			retains(t, two, topic, fmt.Sprint(n))
			hasValue(t, kv, bridge.TopicKey(topic), fmt.Sprint(n))
		}
	}
	back := client(t, two, "pub")
	back.Publish("t/fast/x", "", 0, true)
	back.Publish("t/slow", "back", 0, true)
	retains(t, one, "t/fast/x", "")
	retains(t, one, "t/slow", "back")
	for _, b := range []*appliance.Broker{one, two} {
		relayed(t, b)
		balanced(t, b)
	}
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := status.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq; n != 12 {
		t.Errorf("the bucket has had %d changes; want 12: some went round", n)
	}
}

// What only goes out, or only comes in, and what is called otherwise there.
func TestBucketDirections(t *testing.T) {
	brokertest.NoLeaks(t)
	o := natsOptions(t)
	s := natsServer(t, o)
	_, js := natsClient(t, s)
	kv := makeBucket(t, js, nil)
	no := false
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{keeping(o, "gw",
		appliance.BridgeTopic{Filter: "plant/#", QoS: 1, RemotePrefix: "gw/"},
		appliance.BridgeTopic{Filter: "set/#", Direction: appliance.BridgeIn, QoS: 1, LocalPrefix: "from/", RemotePrefix: "gw/"},
		appliance.BridgeTopic{Filter: "mine/#", QoS: 1, LocalPrefix: "here/"},
		appliance.BridgeTopic{Filter: "mine/#", Direction: appliance.BridgeIn, QoS: 1, LocalPrefix: "there/"},
		appliance.BridgeTopic{Filter: "live/#", QoS: 1, Retain: &no})}
	near := launch(t, cfg)
	is(t, near, bridge.Up)
	pub := client(t, near, "pub")
	pub.Publish("plant/x", "1", 1, true)
	pub.Publish("here/mine/x", "2", 1, true)
	pub.Publish("live/x", "3", 1, true)
	hasValue(t, kv, "gw.plant.x", "1")
	hasValue(t, kv, "mine.x", "2")
	relayed(t, near)
	for key, value := range map[string]string{"gw.set.x": "4", "mine.y": "5", "gw.plant.y": "6", "live.y": "7", "a//b": "8"} {
		if _, err := kv.PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	retains(t, near, "from/set/x", "4")
	retains(t, near, "there/mine/y", "5")
	for _, topic := range []string{"there/mine/x", "plant/y", "gw/plant/y", "live/y"} {
		if got, ok := near.Retained(topic); ok {
			t.Errorf("%s is %q", topic, got)
		}
	}
	if v := inBucket(t, kv, "live.x"); v != "" {
		t.Errorf("live/x is %q in the bucket", v)
	}
	pub.Publish("from/set/x", "mine", 1, true)
	relayed(t, near)
	if v := inBucket(t, kv, "gw.set.x"); v != "4" {
		t.Errorf("what only comes in went out: %q", v)
	}
}
