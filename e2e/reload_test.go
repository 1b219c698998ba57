package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// editable is a broker whose configuration can be edited while it runs.
type editable struct {
	*broker
	mu   sync.Mutex
	file appliance.Config // as the config file would have it
	bad  error            // why that cannot be read
}

func startEditable(t *testing.T, change func(*appliance.Config)) *editable {
	t.Helper()
	e := new(editable)
	e.broker = start(t, func(c *appliance.Config) {
		if change != nil {
			change(c)
		}
		e.file = *c
	}, appliance.WithConfigSource(func() (appliance.Config, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.file, e.bad
	}))
	return e
}

// edit changes the file. Lists in it are the caller's own.
func (e *editable) edit(change func(*appliance.Config)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.file.Listeners = slices.Clone(e.file.Listeners)
	change(&e.file)
}

// mustReload reloads, after a try that must say the same.
func (e *editable) mustReload(t *testing.T) appliance.ReloadReport {
	t.Helper()
	before := fmt.Sprint(e.Stats().Listeners)
	tried, err := e.TryReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(e.Stats().Listeners); after != before {
		t.Errorf("a try has changed the listeners: %s, now %s", before, after)
	}
	r, err := e.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !tried.DryRun || r.DryRun || fmt.Sprint(tried.Changes) != fmt.Sprint(r.Changes) || tried.Affected != r.Affected || tried.Disconnected != r.Disconnected {
		t.Errorf("a try says\n%+v\nthe reload\n%+v", tried, r)
	}
	return r
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(brokertest.Ports(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// flow publishes at QoS 1 to itself as long as more says so, and says what went
// wrong.
func flow(c *brokertest.Client, topic string, more func(n int) bool) (n int, err error) {
	conn := c.Conn()
	frame := wire.AppendPublish(nil, &wire.Out{Version: wire.V311, QoS: 1, Topic: []byte(topic), Payload: []byte("x")}, 7)
	for ; more(n); n++ {
		_ = conn.SetDeadline(time.Now().Add(brokertest.Patience)) // a deadline that cannot be set shows below
		if _, err := conn.Write(frame); err != nil {
			return n, err
		}
		for acked, came := false, false; !acked || !came; {
			f, err := readFrame(conn)
			if err != nil {
				return n, err
			}
			switch f.Type {
			case wire.PUBACK:
				acked = true
			case wire.PUBLISH:
				came = true
				d, err := wire.DecodeDelivery(f, wire.V311)
				if err != nil {
					return n, err
				}
				if _, err := conn.Write(wire.AppendAck(nil, wire.PUBACK, wire.V311, d.PacketID, wire.Success)); err != nil {
					return n, err
				}
			default:
				return n, fmt.Errorf("got %v", f.Type)
			}
		}
	}
	return n, nil
}

// readFrame reads one short frame.
func readFrame(conn net.Conn) (wire.Frame, error) {
	var b []byte
	for {
		if f, n, err := wire.Scan(b, 0); n > 0 || err != nil {
			return f, err
		}
		one := make([]byte, 1)
		if n, err := conn.Read(one); n == 0 { // TLS may say with the last byte that there are no more
			return wire.Frame{}, err
		}
		b = append(b, one[0])
	}
}

// 200 clients of three listeners publish and receive while listeners come and
// go beside them, rules and limits change, an uplink gets another topic, and
// certificates are renewed: none is disconnected, none waits for a message in
// vain, and another uplink passes on every one of them without a reconnect.
func TestReloadWithoutAHitch(t *testing.T) {
	p := newPKI(t)
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	writeRules := func(text string) {
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeRules("allow any all #\n")
	far := start(t, nil)
	above := brokertest.Dial(t, far.addr, brokertest.Clean(wire.V5, "above"))
	above.Subscribe(1, "extra/#")
	uplink := func(name, filter string) appliance.BridgeConfig {
		return appliance.BridgeConfig{Name: name, Address: "mqtt://" + far.addr, RetryMin: 10 * time.Millisecond,
			Topics: []appliance.BridgeTopic{{Filter: filter, QoS: 1}}}
	}
	e := startEditable(t, func(c *appliance.Config) {
		yes := true
		c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS))
		c.Bridges = []appliance.BridgeConfig{uplink("stays", "flow/#"), uplink("changes", "extra/none")}
		for i := range c.Listeners {
			c.Listeners[i].AllowAnonymous = &yes
		}
		c.Access.Rules = []string{rules}
	})
	ends := e.watch(events.Disconnection)
	addrs := []string{e.addr, e.unix, "tls:" + e.Addr("tls")}
	const clients, rounds = 200, 6
	failures, done := make(chan error, clients), make([]chan struct{}, rounds)
	for i := range done {
		done[i] = make(chan struct{})
	}
	all := func(int) bool { // one after the other until all rounds are over
		select {
		case <-done[rounds-1]:
			return false
		default:
			return true
		}
	}
	each := func(n int) bool { // one before each round, and one after the last
		if n > 0 && n <= rounds {
			<-done[n-1]
		}
		return n <= rounds
	}
	var wg sync.WaitGroup
	var moved [clients]int
	for i := range clients {
		topic := fmt.Sprintf("flow/%d", i)
		c := brokertest.Dial(t, addrs[i%len(addrs)], brokertest.Kept(wire.V311, fmt.Sprintf("c%d", i)))
		c.Subscribe(1, topic)
		wg.Go(func() {
			more := each
			if i%10 == 0 {
				more = all
			}
			n, err := flow(c, topic, more)
			moved[i] = n
			if err != nil {
				failures <- fmt.Errorf("client %d after %d messages: %w", i, n, err)
			}
		})
	}
	teller := brokertest.Dial(t, e.addr, brokertest.Clean(wire.V5, "teller"))
	for round := range rounds {
		e.edit(func(c *appliance.Config) {
			if round%2 == 0 {
				c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "more", Address: "127.0.0.1:0"})
			} else {
				c.Listeners = c.Listeners[:3]
			}
			c.Bridges = []appliance.BridgeConfig{c.Bridges[0], uplink("changes", fmt.Sprintf("extra/%d/#", round))}
			c.Limits.PublishRate = 100_000 + round
			c.Limits.ReceiveMaximum = 100 + round
			c.Sessions.MaxQueuedMessages = 1000 + round
		})
		writeRules(fmt.Sprintf("deny any publish secret/%d/#\nallow any all #\n", round))
		p.issue(t, "server")
		r := e.mustReload(t)
		if r.Disconnected != 0 || len(r.Changes) != 3+1+1 && round > 0 {
			t.Errorf("round %d: %d disconnected; %d changes: %+v", round, r.Disconnected, len(r.Changes), r.Changes)
		}
		if r.Affected != clients+1 {
			t.Errorf("round %d: rules have changed for %d clients", round, r.Affected)
		}
		if more := e.Addr("more"); (more != "") != (round%2 == 0) {
			t.Errorf("round %d: listener more is at %q", round, more)
		} else if more != "" {
			guest := brokertest.Dial(t, more, brokertest.Clean(wire.V5, "guest"))
			guest.Ping()
			guest.Disconnect()
			ends.await(t, round/2+1)
		}
		teller.Publish(fmt.Sprintf("extra/%d/x", round), "hello", 1, false)
		above.ExpectMessage(fmt.Sprintf("extra/%d/x", round), "hello")
		close(done[round])
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	for i, n := range moved {
		if n == 0 {
			t.Errorf("client %d has not published", i)
		}
	}
	for _, ev := range ends.all() {
		if d := ev.Data.(events.DisconnectionData); d.ClientID != "guest" {
			t.Errorf("%s was disconnected: %+v", d.ClientID, d)
		}
	}
	total := uint64(0)
	for _, n := range moved {
		total += uint64(n)
	}
	brokertest.WaitFor(t, "all messages above", func() bool { return e.Uplinks()[0].Acked >= total })
	if stays, changes := e.Uplinks()[0], e.Uplinks()[1]; stays.Acked != total || stays.Retried != 0 || stays.Connects != 1 || changes.Acked != 1 || changes.Refused != 0 {
		t.Errorf("of %d messages: %+v\n%+v", total, stays, changes)
	}
}

// A listener that moves, speaks something else, or goes takes its clients with
// it, and nobody else's.
func TestReloadListeners(t *testing.T) {
	p := newPKI(t)
	port, next := freePort(t), freePort(t)
	local := "127.0.0.1:" + port
	for name, tt := range map[string]struct {
		edit func(l *appliance.ListenerConfig)
		at   string // where clients connect afterwards
		ends bool   // for those that are connected
	}{
		"nothing":             {func(*appliance.ListenerConfig) {}, local, false},
		"another address":     {func(l *appliance.ListenerConfig) { l.Address = "127.0.0.1:" + next }, "127.0.0.1:" + next, true},
		"every address":       {func(l *appliance.ListenerConfig) { yes := true; l.Address, l.AllowAnonymous = ":"+port, &yes }, local, true},
		"another name":        {func(l *appliance.ListenerConfig) { l.Name = "renamed" }, local, true},
		"WebSocket":           {func(l *appliance.ListenerConfig) { l.Type = appliance.ListenWebSocket }, "ws://" + local + "/mqtt", true},
		"the same said aloud": {func(l *appliance.ListenerConfig) { l.Type = "" }, local, false},
		"TLS":                 {func(l *appliance.ListenerConfig) { *l = p.listener(l.Name, appliance.ListenTLS); l.Address = local }, "tls:" + local, true},
		"origins":             {func(l *appliance.ListenerConfig) { l.Type, l.AllowedOrigins = appliance.ListenWebSocket, []string{"*"} }, "ws://" + local + "/mqtt", true},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEditable(t, func(c *appliance.Config) {
				c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "moves", Type: appliance.ListenTCP, Address: local})
			})
			ends := e.watch(events.Disconnection)
			stays := brokertest.Dial(t, e.addr, brokertest.Clean(wire.V5, "stays"))
			c := brokertest.Dial(t, local, brokertest.Clean(wire.V5, "c"))
			e.edit(func(c *appliance.Config) { tt.edit(&c.Listeners[2]) })
			r := e.mustReload(t)
			if (r.Disconnected == 1) != tt.ends {
				t.Errorf("%+v", r)
			}
			if !tt.ends {
				c.Ping()
			} else {
				if reason := c.ExpectDisconnect(); reason != wire.AdministrativeAction {
					t.Errorf("the client heard %v", reason)
				}
				if d := ends.await(t, 1)[0].Data.(events.DisconnectionData); d.Reason != "listener_closed" || d.ClientID != "c" {
					t.Errorf("%+v", d)
				}
			}
			stays.Ping()
			again := brokertest.Dial(t, tt.at, brokertest.Clean(wire.V5, "again"))
			again.Ping()
			if tt.at != local && !strings.Contains(tt.at, local) {
				if nc, err := net.Dial("tcp", local); err == nil {
					nc.Close()
					t.Error("the old address still answers")
				}
			}
			e.edit(func(c *appliance.Config) { c.Listeners = c.Listeners[:2] })
			e.mustReload(t)
			for _, ev := range ends.await(t, 2) { // c and again
				if d := ev.Data.(events.DisconnectionData); d.Reason != "listener_closed" {
					t.Errorf("%+v", d)
				}
			}
			stays.Ping()
			if nc, err := net.Dial("tcp", local); err == nil {
				nc.Close()
				t.Error("a listener that is gone still answers")
			}
		})
	}
}

// Whatever is wrong, everything stays as it was: who is connected, where one can
// connect, and what one may do.
func TestReloadAllOrNothing(t *testing.T) {
	p := newPKI(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := freePort(t)
	local := "127.0.0.1:" + port
	occupied := appliance.ListenerConfig{Name: "occupied", Address: taken.Addr().String()}
	yes := true
	for name, tt := range map[string]struct {
		edit func(c *appliance.Config)
		says string
	}{
		"an address that is taken": {func(c *appliance.Config) { c.Listeners = append(c.Listeners, occupied) }, "is in use by another process"},
		"the same, after one that had to make room": {func(c *appliance.Config) {
			c.Listeners[2].Address, c.Listeners[2].AllowAnonymous = ":"+port, &yes
			c.Listeners = append(c.Listeners, occupied)
		}, "is in use by another process"},
		"certificates that are not there": {func(c *appliance.Config) {
			l := p.listener("tls", appliance.ListenTLS)
			l.Certificate = p.path("none.crt")
			c.Listeners = append(c.Listeners, l)
		}, "none.crt"},
		"rules that are not there":   {func(c *appliance.Config) { c.Access.Rules = []string{p.path("rules")} }, "rules"},
		"a limit that is none":       {func(c *appliance.Config) { c.Limits.MaxTopicLevels = -1 }, "limits.max_topic_levels"},
		"a store":                    {func(c *appliance.Config) { c.Storage.Directory = p.path("state") }, "storage.directory cannot change while the broker runs"},
		"the control socket":         {func(c *appliance.Config) { c.Control.Socket = p.path("s") }, "control.socket cannot change"},
		"a socket of systemd":        {func(c *appliance.Config) { c.Listeners[0].Address, c.Listeners[0].AllowAnonymous = "systemd:lan", &yes }, "restart it"},
		"a file that cannot be read": {func(*appliance.Config) {}, "line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEditable(t, func(c *appliance.Config) {
				c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "l", Address: local})
			})
			system := e.watch(events.System)
			if strings.Contains(name, "cannot be read") {
				e.bad = errors.New("line 3: no such key")
			}
			var clients []*brokertest.Client
			for i, at := range []string{e.addr, e.unix, local} {
				clients = append(clients, brokertest.Dial(t, at, brokertest.Clean(wire.V5, fmt.Sprint("c", i))))
			}
			before := fmt.Sprint(e.Stats().Listeners)
			e.edit(func(c *appliance.Config) {
				c.Limits.ReceiveMaximum = 3
				tt.edit(c)
			})
			if _, err := e.TryReload(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("a try says %v", err)
			}
			if _, err := e.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("says %v", err)
			}
			if what := system.await(t, 1)[0].Data.(events.SystemData).What; what != "reload_failed" {
				t.Errorf("event %s", what)
			}
			if after := fmt.Sprint(e.Stats().Listeners); after != before {
				t.Errorf("listeners were %s and are %s", before, after)
			}
			for i, at := range []string{e.addr, e.unix, local} {
				clients[i].Ping()
				c := brokertest.Dial(t, at, brokertest.Clean(wire.V5, fmt.Sprint("d", i)))
				if c.Connack.ReceiveMaximum == 3 {
					t.Error("a limit has changed")
				}
			}
			// What was wrong is mended, and the rest counts.
			e.bad = nil
			e.edit(func(c *appliance.Config) {
				c.Listeners, c.Access.Rules, c.Storage.Directory = c.Listeners[:2], nil, ""
				c.Listeners[0].Address = "127.0.0.1:0"
				c.Limits.MaxTopicLevels = 128
				c.Control.Socket = filepath.Join(filepath.Dir(strings.TrimPrefix(e.unix, "unix:")), "control.sock")
			})
			e.mustReload(t)
			if c := brokertest.Dial(t, e.addr, brokertest.Clean(wire.V5, "e")); c.Connack.ReceiveMaximum != 3 {
				t.Errorf("Receive Maximum is %d", c.Connack.ReceiveMaximum)
			}
		})
	}
}

// The same configuration again is nothing.
func TestReloadTheSame(t *testing.T) {
	e := startEditable(t, nil)
	ends := e.watch(events.Disconnection)
	c := brokertest.Dial(t, e.addr, brokertest.Clean(wire.V5, "c"))
	c.Subscribe(1, "t")
	for range 3 {
		if r := e.mustReload(t); len(r.Changes) != 0 || r.Affected != 0 {
			t.Errorf("%+v", r)
		}
	}
	c.Publish("t", "x", 1, false)
	c.ExpectMessage("t", "x")
	if n := len(ends.all()); n > 0 {
		t.Errorf("%d disconnected", n)
	}
}

// Who would not be let in any more does not stay.
func TestReloadExpels(t *testing.T) {
	p := newPKI(t)
	device := p.issue(t, "device")
	no := false
	users := filepath.Join(t.TempDir(), "users")
	rules := filepath.Join(filepath.Dir(users), "rules")
	if err := os.WriteFile(rules, []byte("allow any all #\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	editUsers := func(t *testing.T, edit func(e *auth.PasswordEdit, hash func(password string) string) error) {
		hash := func(password string) string {
			h, err := auth.HashPassword(auth.NewSecret([]byte(password)))
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		if err := auth.EditPasswordFile(t.Context(), users, func(e *auth.PasswordEdit) error { return edit(e, hash) }); err != nil {
			t.Fatal(err)
		}
	}
	passwords := func(_ *testing.T, c *appliance.Config) { c.Access.Passwords, c.Access.Rules = users, []string{rules} }
	for name, tt := range map[string]struct {
		before, after func(t *testing.T, c *appliance.Config)
		why           string // for client "c"
	}{
		"nobody": {nil, func(_ *testing.T, c *appliance.Config) {
			c.Listeners[0].AllowAnonymous = &no
			c.Access.Passwords, c.Access.Rules = users, []string{rules}
		}, "listener tcp lets nobody in any more who does not say who they are"},
		"a password": {passwords,
			func(t *testing.T, _ *appliance.Config) {
				editUsers(t, func(e *auth.PasswordEdit, hash func(string) string) error { return e.SetHash("ann", hash("another")) })
			}, "its password has changed"},
		"groups": {passwords,
			func(t *testing.T, _ *appliance.Config) {
				editUsers(t, func(e *auth.PasswordEdit, _ func(string) string) error { return e.SetGroups("ann", []string{"ops"}) })
			}, "its groups have changed"},
		"a version": {nil, func(_ *testing.T, c *appliance.Config) {
			c.Listeners[0].MQTTVersions = []appliance.MQTTVersion{"3.1.1"}
		},
			"listener tcp does not allow MQTT 5 any more"},
		"who is asked": {passwords, func(_ *testing.T, c *appliance.Config) {
			c.Access.HTTP.URL, c.Listeners[0].Sources = "http://127.0.0.1:9/", []appliance.AccessSource{appliance.AccessHTTP}
		}, "listener tcp does not ask passwords any more"},
		"no passwords any more": {passwords,
			func(_ *testing.T, c *appliance.Config) { c.Access.Passwords = "" }, "access.passwords is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(users)
			editUsers(t, func(e *auth.PasswordEdit, hash func(string) string) error {
				return errors.Join(e.Add("ann", hash("ann"), nil), e.Add("bob", hash("bob"), nil))
			})
			e := startEditable(t, func(c *appliance.Config) {
				if tt.before != nil {
					tt.before(t, c)
				}
			})
			c := brokertest.Dial(t, e.addr, as(brokertest.Clean(wire.V5, "c"), "ann", "ann"))
			e.edit(func(c *appliance.Config) { tt.after(t, c) })
			r := e.mustReload(t)
			if r.Disconnected != 1 || r.Clients[0].ID != "c" || r.Clients[0].Why != tt.why || !r.Clients[0].Disconnected {
				t.Errorf("%+v", r)
			}
			if reason := c.ExpectDisconnect(); reason != wire.NotAuthorized {
				t.Errorf("the client heard %v", reason)
			}
		})
	}
	t.Run("a certificate", func(t *testing.T) {
		e := startEditable(t, func(c *appliance.Config) {
			l := p.listener("tls", appliance.ListenTLS)
			l.ClientCA, l.CRL = p.CertificateFile(), p.CRLFile()
			c.Listeners = append(c.Listeners, l)
		})
		url := "mqtts://" + e.Addr("tls")
		p.issue(t, "other")
		revoked, other := pahoOver(t, url, "c", p.clientConfig(t, "device")), pahoOver(t, url, "other", p.clientConfig(t, "other"))
		if err := p.RevokeCertificate(device.Certificate); err != nil {
			t.Fatal(err)
		}
		if r := e.mustReload(t); r.Disconnected != 1 || r.Clients[0].ID != "c" || !strings.Contains(r.Clients[0].Why, "is revoked") {
			t.Errorf("%+v", r)
		}
		brokertest.WaitFor(t, "the end of the connection", func() bool { return !revoked.IsConnected() })
		settled(t, "publish", other.Publish("t", 1, false, "x"))
	})
}

// Limits count at once, but what a client was told when it connected holds until
// it goes.
func TestReloadLimits(t *testing.T) {
	e := startEditable(t, nil)
	big := wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("t"), Payload: make([]byte, 3000)}
	dial := func(id string) *brokertest.Client {
		return brokertest.DialAny(t, e.addr, brokertest.Clean(wire.V5, id))
	}
	old := dial("old")
	e.edit(func(c *appliance.Config) {
		c.Limits.MaxPacketSize, c.Limits.MaxConnections, c.Limits.MaxTopicLevels = 2*appliance.KiB, 2, 3
	})
	e.mustReload(t)
	if r := old.PublishOut(big); r != wire.NoMatchingSubscribers {
		t.Errorf("a packet as long as was agreed: %v", r)
	}
	if r := old.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("a/b/c/d")}); r != wire.TopicNameInvalid {
		t.Errorf("a topic deeper than is allowed now: %v", r)
	}
	next := dial("next")
	if n := next.Connack.MaximumPacketSize; n != 2048 {
		t.Errorf("Maximum Packet Size is %d", n)
	}
	nc, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	brokertest.WaitFor(t, "the refusal of a third connection", func() bool { return e.Stats().Refusals["max_connections"] == 1 })
	next.Send(wire.AppendPublish(nil, &big, 1))
	if r := next.ExpectDisconnect(); r != wire.PacketTooLarge {
		t.Errorf("heard %v", r)
	}
	// A bound of the listener's own, lower and then gone again.
	e.edit(func(c *appliance.Config) { c.Listeners[0].MaxPacketSize, c.Limits.MaxConnections = 1*appliance.KiB, 0 })
	e.mustReload(t)
	if n := dial("a").Connack.MaximumPacketSize; n != 1024 {
		t.Errorf("Maximum Packet Size of the listener is %d", n)
	}
	e.edit(func(c *appliance.Config) { c.Listeners[0].MaxPacketSize = 0 })
	e.mustReload(t)
	if n := dial("b").Connack.MaximumPacketSize; n != 2048 {
		t.Errorf("Maximum Packet Size is %d", n)
	}
	old.Ping()
}
