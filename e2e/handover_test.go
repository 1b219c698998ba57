package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// A frame of which a part had come is completed after the move, and so is one of
// which a part had gone, with all that waited behind it.
func TestHandoverInTheMiddleOfFrames(t *testing.T) {
	eachStore(t, func(t *testing.T, where storing) {
		m := startMover(t, where, func(c *appliance.Config) { c.Limits.MaxOutboundBytes = 8 * appliance.MiB })
		slow := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "slow"))
		slow.Subscribe(1, "big/#")
		pub := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V311, "pub"))
		payload := strings.Repeat("x", 100_000)
		const n = 60 // more than sockets take
		for i := range n {
			pub.Publish("big/1", fmt.Sprintf("%03d%s", i, payload), 1, false)
		}
		o := wire.Out{Version: wire.V311, QoS: 1, Topic: []byte("half"), Payload: []byte(payload)}
		frame := wire.AppendPublish(nil, &o, 77)
		sub := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "sub"))
		sub.Subscribe(0, "half")
		pub.Send(frame[:50_001])
		m.move(t, nil, func() { pub.Send(frame[50_001:50_002]) })
		m.move(t, nil, nil)
		pub.Send(frame[50_002:])
		pub.ExpectAck(wire.PUBACK, 77)
		sub.ExpectMessage("half", payload)
		for i := range n {
			d := slow.ExpectPublish()
			if want := fmt.Sprintf("%03d", i); string(d.Payload[:3]) != want || len(d.Payload) != 100_003 || d.Dup {
				t.Fatalf("message %d: %q..., %d bytes, DUP %v", i, d.Payload[:3], len(d.Payload), d.Dup)
			}
			slow.Ack(wire.PUBACK, d.PacketID)
		}
		slow.ExpectNothing()
		m.balanced(t)
	})
}

// Exchanges at QoS 1 and 2 go on where they were, in both directions, under the
// same identifiers and without anything being sent twice, for clients whose
// sessions end with their connections, too.
func TestHandoverInTheMiddleOfExchanges(t *testing.T) {
	eachStore(t, func(t *testing.T, where storing) {
		for _, v := range []wire.Version{wire.V311, wire.V5} {
			for _, kept := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v kept %v", v, kept), func(t *testing.T) {
					con := brokertest.Clean(v, "c")
					if kept {
						con = brokertest.Kept(v, "c")
					}
					m := startMover(t, where, nil)
					c := brokertest.Dial(t, m.addr, con)
					c.Subscribe(2, "to/#")
					other := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "other")).AutoAck()
					other.Subscribe(2, "from/#")
					out := func(topic, payload string, qos byte) wire.Out {
						return wire.Out{QoS: qos, Topic: []byte(topic), Payload: []byte(payload)}
					}
					// Received and not released; sent and in every state.
					c.PublishID(out("from/c", "one", 2), 10)
					c.ExpectAck(wire.PUBREC, 10)
					other.ExpectMessage("from/c", "one")
					other.Publish("to/c", "a", 1, false)
					other.Publish("to/c", "b", 2, false)
					other.Publish("to/c", "d", 2, false)
					a, b, d := c.ExpectMessage("to/c", "a"), c.ExpectMessage("to/c", "b"), c.ExpectMessage("to/c", "d")
					c.Ack(wire.PUBREC, d.PacketID)
					c.ExpectAck(wire.PUBREL, d.PacketID)
					m.move(t, nil, nil)

					c.ExpectNothing()
					c.PublishID(wire.Out{Dup: true, QoS: 2, Topic: []byte("from/c"), Payload: []byte("one")}, 10) // once
					c.ExpectAck(wire.PUBREC, 10)
					c.Ack(wire.PUBREL, 10)
					c.ExpectAck(wire.PUBCOMP, 10)
					c.PublishID(out("from/c", "two", 2), 10) // another one
					c.ExpectAck(wire.PUBREC, 10)
					other.ExpectMessage("from/c", "two")
					c.Ack(wire.PUBACK, a.PacketID)
					c.Ack(wire.PUBREC, b.PacketID)
					c.ExpectAck(wire.PUBREL, b.PacketID)
					m.move(t, nil, nil)
					c.Ack(wire.PUBREL, 10)
					c.ExpectAck(wire.PUBCOMP, 10)
					c.Ack(wire.PUBCOMP, b.PacketID)
					c.Ack(wire.PUBCOMP, d.PacketID)
					c.ExpectNothing()
					other.ExpectNothing()
					m.balanced(t)
					brokertest.WaitFor(t, "all exchanges to be over", func() bool {
						s := m.Stats()
						return s.Queued.Inflight == 0 && s.Queued.Messages == 0
					})
					other.Publish("to/c", "e", 1, false)
					if e := c.ExpectMessage("to/c", "e"); e.PacketID == a.PacketID {
						t.Errorf("identifier %d comes again at once", e.PacketID)
					}
				})
			}
		}
	})
}

// What CONNACK has said holds, and so do aliases, Receive Maximum, Maximum Packet
// Size, subscription identifiers and shared subscriptions.
func TestHandoverOfAConnectionsTerms(t *testing.T) {
	eachStore(t, func(t *testing.T, where storing) {
		m := startMover(t, where, nil)
		con := brokertest.Clean(wire.V5, "c")
		con.ReceiveMaximum, con.MaximumPacketSize, con.TopicAliasMaximum = 2, 200, 5
		c := brokertest.Dial(t, m.addr, con)
		c.SubscribeTo(wire.Subscribe{SubscriptionID: 42, Filters: []wire.Filter{{Filter: "plant/#", QoS: 1}}})
		member := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V311, "member"))
		member.Subscribe(0, "$share/g/work")
		mate := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "mate"))
		mate.Subscribe(0, "$share/g/work")
		pub := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "pub"))
		pub.Send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte("plant/alias"), Alias: 3, Payload: []byte("1")}, 0))
		if d := c.ExpectMessage("plant/alias", "1"); d.Alias == 0 || !slices.Equal(d.SubIDs, []uint32{42}) {
			t.Fatalf("before: %+v", d)
		}
		for i := range 4 {
			pub.Publish("plant/qos1", fmt.Sprint(i), 1, false)
		}
		first, second := c.ExpectPublish(), c.ExpectPublish()
		c.ExpectNothing()
		m.move(t, func(cfg *appliance.Config) { cfg.Limits.MaxTopicAlias, cfg.Limits.ReceiveMaximum = 1, 7 }, nil)
		c.ExpectNothing()
		pub.Send(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Alias: 3, Payload: []byte("2")}, 0))
		c.Ack(wire.PUBACK, first.PacketID) // makes room for one
		third := c.ExpectPublish()
		if string(third.Payload) != "2" && string(third.Payload) != "1" {
			t.Errorf("got %q", third.Payload)
		}
		c.Ack(wire.PUBACK, second.PacketID)
		var got []string
		for _, d := range []wire.Delivery{third, c.ExpectPublish(), c.ExpectPublish()} {
			got = append(got, string(d.Payload))
			if len(d.Topic) > 0 || d.Alias == 0 || !slices.Equal(d.SubIDs, []uint32{42}) {
				t.Errorf("after: topic %q, alias %d, ids %v", d.Topic, d.Alias, d.SubIDs)
			}
			if d.QoS > 0 {
				c.Ack(wire.PUBACK, d.PacketID)
			}
		}
		if slices.Sort(got); !slices.Equal(got, []string{"2", "2", "3"}) {
			t.Errorf("got %v", got)
		}
		pub.Publish("plant/large", strings.Repeat("x", 300), 1, false)
		c.ExpectNothing()
		for i := range 4 {
			pub.Publish("work", fmt.Sprint(i), 0, false)
		}
		for _, c := range []*brokertest.Client{member, mate} {
			c.ExpectPublish()
			c.ExpectPublish()
			c.ExpectNothing()
		}
		m.balanced(t)
	})
}

// Wills stay armed: the move sends none, the end of a client does, also if it ends
// while there is no broker.
func TestHandoverKeepsWills(t *testing.T) {
	eachStore(t, func(t *testing.T, where storing) {
		m := startMover(t, where, nil)
		watcher := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "watcher"))
		watcher.Subscribe(1, "will/#")
		dial := func(id string) *brokertest.Client {
			con := brokertest.Clean(wire.V5, id)
			con.Will = &wire.Will{Topic: "will/" + id, Payload: []byte("gone")}
			return brokertest.Dial(t, m.addr, con)
		}
		after, during, polite := dial("after"), dial("during"), dial("polite")
		gone := m.watch(events.Disconnection)
		m.move(t, nil, func() { during.Conn().Close() })
		if list := gone.all(); len(list) > 0 {
			t.Errorf("events: %+v", list)
		}
		watcher.ExpectMessage("will/during", "gone")
		gone = m.watch(events.Disconnection)
		after.Conn().Close()
		watcher.ExpectMessage("will/after", "gone")
		polite.Disconnect()
		watcher.ExpectNothing()
		for _, e := range gone.await(t, 2) {
			if d := e.Data.(events.DisconnectionData); d.ClientID == "watcher" || d.Duration <= 0 {
				t.Errorf("event %+v", d)
			}
		}
	})
}

// Who is connected, since when and from where is told as before, no event says
// otherwise, and counters do not count what has not happened.
func TestHandoverIsNoConnection(t *testing.T) {
	m := startMover(t, inMemory, nil)
	con := brokertest.Clean(wire.V5, "c")
	con.HasUsername, con.Username = true, "ann"
	c := brokertest.Dial(t, m.addr, con)
	c.Publish("t", "x", 1, false)
	before, _ := m.Client("c")
	m.move(t, nil, nil)
	after, ok := m.Client("c")
	if !ok || after.Remote != before.Remote || after.Listener != before.Listener || after.Received != before.Received ||
		after.ConnectedAt.Sub(before.ConnectedAt).Abs() > 100*time.Millisecond || after.Username != before.Username {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	s := m.Stats()
	if s.ClientCount != 1 || s.Connections.Total != 0 || len(s.Disconnections) != 0 || s.Received.Messages != 0 || s.Connections.Sockets != 1 {
		t.Errorf("stats %+v, %v, received %d", s.Connections, s.Disconnections, s.Received.Messages)
	}
	gone := m.watch(events.Disconnection)
	c.Publish("t", "y", 1, false)
	c.Disconnect()
	d := gone.await(t, 1)[0].Data.(events.DisconnectionData)
	if d.Received != 2 || d.Reason != "normal" || d.Username != "" && d.Username != "ann" {
		t.Errorf("disconnection %+v", d)
	}
}

// A session that was handed over can be taken over, and its client is held to its
// keep alive.
func TestHandoverTakeOverAndKeepAlive(t *testing.T) {
	m := startMover(t, inFolder, nil)
	con := brokertest.Kept(wire.V5, "late-comer")
	c := brokertest.Dial(t, m.addr, con)
	c.Subscribe(1, "t")
	idle := brokertest.Clean(wire.V5, "idle")
	idle.KeepAlive = 1
	silent := brokertest.Dial(t, m.addr, idle)
	m.move(t, nil, nil)
	again := brokertest.Dial(t, m.addr, con)
	if r := c.ExpectDisconnect(); r != wire.SessionTakenOver || !again.Connack.SessionPresent {
		t.Errorf("told %v, session present %v", r, again.Connack.SessionPresent)
	}
	if r := silent.ExpectDisconnect(); r != wire.KeepAliveTimeout {
		t.Errorf("told %v", r)
	}
}

// Without a store everything travels: retained messages, what waits for clients
// that are away, their wills and subscriptions.
func TestHandoverWithoutStore(t *testing.T) {
	for _, where := range []storing{inMemory, inBoth} {
		t.Run(string(where), func(t *testing.T) { handoverOfWhatIsNotStored(t, where) })
	}
}

func handoverOfWhatIsNotStored(t *testing.T, where storing) {
	m := startMover(t, where, nil)
	con := brokertest.Kept(wire.V5, "late-away")
	away := brokertest.Dial(t, m.addr, con)
	away.SubscribeTo(wire.Subscribe{SubscriptionID: 7, Filters: []wire.Filter{{Filter: "to/#", QoS: 2}}})
	away.Drop()
	pub := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "pub"))
	pub.Publish("r/1", "retained", 1, true)
	for i := range 3 {
		pub.PublishOut(wire.Out{QoS: byte(i%2 + 1), Topic: []byte("to/1"), Payload: []byte(fmt.Sprint(i)), HasExpiry: true, Expiry: 1000})
	}
	m.move(t, nil, nil)
	m.move(t, nil, nil)
	pub.Publish("to/1", "3", 1, false)
	pub.Subscribe(1, "r/#")
	if d := pub.ExpectMessage("r/1", "retained"); !d.Retain {
		t.Error("not as a retained message")
	}
	back := brokertest.Dial(t, m.addr, con)
	if !back.Connack.SessionPresent {
		t.Fatal("session is gone")
	}
	for i := range 4 {
		d := back.ExpectMessage("to/1", fmt.Sprint(i))
		if !slices.Equal(d.SubIDs, []uint32{7}) || i < 3 && (!d.HasExpiry || d.Expiry > 1000 || d.Expiry < 900) {
			t.Errorf("message %d: %+v", i, d)
		}
	}
	m.balanced(t)
}

// Those whose users are gone, or are others now, do not stay.
func TestHandoverAsksAnew(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	write := func(names ...string) {
		t.Helper()
		var b strings.Builder
		for _, n := range names {
			b.WriteString(n + "\n")
		}
		if err := os.WriteFile(users, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ann, bob, eve := passwordLine(t, "ann"), passwordLine(t, "bob"), passwordLine(t, "eve")
	write(ann, bob, eve)
	rules := filepath.Join(dir, "acl")
	if err := os.WriteFile(rules, []byte("allow any all #\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := startMover(t, inFolder, func(c *appliance.Config) {
		c.Access.Passwords, c.Access.Watch = users, false
		c.Access.Rules = []string{rules}
	})
	dial := func(name string) *brokertest.Client {
		con := brokertest.Clean(wire.V5, name)
		con.HasUsername, con.Username, con.HasPassword, con.Password = true, name, true, []byte("secret")
		return brokertest.Dial(t, m.addr, con)
	}
	a, b, e := dial("ann"), dial("bob"), dial("eve")
	m.move(t, nil, func() { write(ann, passwordLine(t, "eve")) })
	a.Ping()
	for name, c := range map[string]*brokertest.Client{"bob": b, "eve": e} {
		if r := c.ExpectDisconnect(); r != wire.NotAuthorized {
			t.Errorf("%s is told %v", name, r)
		}
	}
	m.move(t, nil, func() {
		if err := os.WriteFile(rules, []byte("allow user=ann publish ok/#\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if r := a.PublishOut(wire.Out{QoS: 1, Topic: []byte("ok/1")}); r >= wire.UnspecifiedError {
		t.Errorf("allowed: %v", r)
	}
	if r := a.PublishOut(wire.Out{QoS: 1, Topic: []byte("no/1")}); r != wire.NotAuthorized {
		t.Errorf("denied: %v", r)
	}
}

// A listener that is not there any more takes its clients along; new ones come by
// the socket that was kept.
func TestHandoverToOtherListeners(t *testing.T) {
	m := startMover(t, inMemory, nil)
	stays := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "stays"))
	goes := brokertest.Dial(t, m.unix, brokertest.Clean(wire.V5, "goes"))
	waits := brokertest.DialRaw(t, m.addr, wire.V5) // has not said who it is
	hello := brokertest.Clean(wire.V5, "late-waits")
	half := brokertest.DialRaw(t, m.addr, wire.V5) // what it has begun to say stays behind, since it may hold a password
	half.Send(wire.AppendConnect(nil, &hello)[:5])
	var queued net.Conn
	m.move(t, func(c *appliance.Config) { c.Listeners = c.Listeners[:1] }, func() {
		var err error
		if queued, err = net.Dial("tcp", m.addr); err != nil { // nobody refuses it
			t.Fatal(err)
		}
		waits.Send(wire.AppendConnect(nil, &hello))
	})
	defer queued.Close()
	stays.Ping()
	waits.Expect(wire.CONNACK)
	half.ExpectClosed()
	if r := goes.ExpectDisconnect(); r != wire.AdministrativeAction {
		t.Errorf("told %v", r)
	}
	late := brokertest.Clean(wire.V5, "late-queued")
	if _, err := queued.Write(wire.AppendConnect(nil, &late)); err != nil {
		t.Fatal(err)
	}
	_ = queued.SetReadDeadline(time.Now().Add(brokertest.Patience))
	if _, err := queued.Read(make([]byte, 100)); err != nil {
		t.Error(err)
	}
}

// Those who speak TLS or WebSocket cannot go on: over a time, while the others are
// served, they are told to come again, and find the door open.
func TestHandoverOfTLS(t *testing.T) {
	p := newPKI(t)
	m := startMover(t, inFolder, func(c *appliance.Config) {
		c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS),
			appliance.ListenerConfig{Name: "ws", Type: appliance.ListenWebSocket, Address: "127.0.0.1:0", AllowAnonymous: new(bool)})
		*c.Listeners[3].AllowAnonymous = true
		c.Upgrade.Spread = 300 * time.Millisecond
	})
	plain := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "plain")).AutoAck()
	plain.Subscribe(1, "t")
	addr := m.Addr("tls")
	dial := func(id string) *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", addr, p.clientConfig(t, ""))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		con := brokertest.Clean(wire.V5, id)
		if _, err := c.Write(wire.AppendConnect(nil, &con)); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(brokertest.Patience))
		if f, err := newFrames(c).next(); err != nil || f.Type != wire.CONNACK {
			t.Fatalf("%v, %v", f.Type, err)
		}
		return c
	}
	const n = 6
	told := make(chan time.Time, n)
	for i := range n {
		c := dial(fmt.Sprint("late-tls-", i))
		go func() {
			f, err := newFrames(c).next()
			if d, err2 := wire.DecodeDisconnect(f, wire.V5); err != nil || err2 != nil || d.Reason != wire.ServerShuttingDown {
				t.Errorf("told %v (%v), %v", d.Reason, err2, err)
			}
			told <- time.Now()
		}()
	}
	parcel := make(chan *os.File)
	go func() { parcel <- m.pack(t) }()
	first := <-told
	plain.Publish("t", "while they go", 1, false)
	plain.ExpectMessage("t", "while they go")
	var last time.Time
	for range n - 1 {
		last = <-told
	}
	if d := last.Sub(first); d < 100*time.Millisecond {
		t.Errorf("all were told within %v", d)
	}
	m.unpack(t, <-parcel)
	plain.Ping()
	if got := m.Addr("tls"); got != addr {
		t.Errorf("listens at %s instead of %s", got, addr)
	}
	dial("late-again").Close()
}

// A unix socket whose path is gone, as a service manager removes its folder, is
// bound anew; its clients go on.
func TestHandoverOfAPathThatIsGone(t *testing.T) {
	m := startMover(t, inMemory, nil)
	path := strings.TrimPrefix(m.unix, "unix:")
	c := brokertest.Dial(t, m.unix, brokertest.Clean(wire.V5, "c"))
	m.move(t, nil, nil)
	brokertest.Dial(t, m.unix, brokertest.Clean(wire.V5, "late-1")).Disconnect()
	m.move(t, nil, func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})
	c.Ping()
	brokertest.Dial(t, m.unix, brokertest.Clean(wire.V5, "late-2")).Disconnect()
}

// When it fails in the middle, clients are told that the server shuts down; what
// was stored is there.
func TestHandoverThatFails(t *testing.T) {
	m := startMover(t, inFolder, nil)
	con := brokertest.Kept(wire.V5, "late-kept")
	c := brokertest.Dial(t, m.addr, con)
	c.Subscribe(1, "t")
	c.Publish("t", "x", 1, false)
	moved, err := m.HandOver(within(t), func(*os.File) error { return errors.New("nobody takes it") })
	if moved || err != nil {
		t.Fatalf("moved %v, %v", moved, err)
	}
	if r := c.ExpectDisconnect(); r != wire.ServerShuttingDown {
		t.Errorf("told %v", r)
	}
	if log := m.log.String(); !strings.Contains(log, "nobody takes it") {
		t.Errorf("log %s", log)
	}
	b, err := appliance.New(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	back := brokertest.Dial(t, b.Addr("tcp"), con)
	if d := back.ExpectMessage("t", "x"); !back.Connack.SessionPresent || !d.Dup {
		t.Errorf("session present %v, DUP %v", back.Connack.SessionPresent, d.Dup)
	}
}

// A parcel can be opened by one process after the other until clients are read
// again, and tells who has tried.
func TestHandoverParcelIsPatient(t *testing.T) {
	m := startMover(t, inMemory, nil)
	c := brokertest.Dial(t, m.addr, brokertest.Clean(wire.V5, "c"))
	parcel := m.pack(t)
	for i := range 3 {
		again, err := handover.Keep(parcel)
		if err != nil {
			t.Fatal(err)
		}
		p, err := handover.Open(again)
		if err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
		want := handover.Go
		if i == 2 { // nobody is left who has not tried but the one that has made it
			want = handover.RunEarlier
		}
		if v, err := p.Judge(fmt.Sprint("program ", i%2)); v != want || err != nil {
			t.Errorf("look %d: %v, %v", i, v, err)
		}
		p.Close()
	}
	m.unpack(t, parcel)
	c.Ping()
}

// TestHandoverUnderLoad moves a broker again and again while a crowd of clients
// publishes and subscribes; nothing is lost, repeated, out of order, or ends.
func TestHandoverUnderLoad(t *testing.T) {
	eachStore(t, func(t *testing.T, where storing) {
		m := startMover(t, where, nil)
		const pairs = 12
		fleet := startPairs(t, m.addr, pairs)
		for range 3 {
			fleet.await(t, 20)
			m.move(t, nil, nil)
		}
		fleet.await(t, 20)
		fleet.finish(t)
		m.balanced(t)
		if s := m.Stats(); s.ClientCount != 2*pairs || len(s.Disconnections) > 0 {
			t.Errorf("%d clients, %v", s.ClientCount, s.Disconnections)
		}
	})
}

// passwordLine is a line of a password file for a user whose password is
// "secret", with another hash each time.
func passwordLine(t *testing.T, name string) string {
	t.Helper()
	h, err := auth.HashPassword(auth.NewSecret([]byte("secret")))
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + h
}
