package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	brokerdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

// guarded is a broker at which users sign in and rules count.
type guarded struct {
	*broker
	users, rules string            // the files
	hashes       map[string]string // of users; who is named again has the same
}

// guard starts one. Each of users is "name" or "name:group,group"; the password
// is the name.
func guard(t *testing.T, rules string, users []string, change func(*appliance.Config)) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{users: filepath.Join(dir, "users"), rules: filepath.Join(dir, "rules")}
	g.setUsers(t, users...)
	g.setRules(t, rules)
	g.broker = start(t, func(c *appliance.Config) {
		c.Access.Passwords, c.Access.Rules = g.users, []string{g.rules}
		if change != nil {
			change(c)
		}
	})
	return g
}

func (g *guarded) setUsers(t *testing.T, users ...string) {
	t.Helper()
	_ = os.Remove(g.users)
	err := auth.EditPasswordFile(t.Context(), g.users, func(e *auth.PasswordEdit) error {
		for _, u := range users {
			name, groups, _ := strings.Cut(u, ":")
			if g.hashes[name] == "" {
				hash, err := auth.HashPassword(auth.NewSecret([]byte(name)))
				if err != nil {
					return err
				}
				if g.hashes == nil {
					g.hashes = make(map[string]string)
				}
				g.hashes[name] = hash
			}
			if err := e.Add(name, g.hashes[name], strings.FieldsFunc(groups, func(r rune) bool { return r == ',' })); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (g *guarded) setRules(t *testing.T, rules string) {
	t.Helper()
	if err := os.WriteFile(g.rules, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload does, and returns how many clients it has disconnected.
func (g *guarded) reload(t *testing.T) int {
	t.Helper()
	r, err := g.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Disconnected
}

// as makes a CONNECT sign in.
func as(c wire.Connect, user, password string) wire.Connect {
	c.HasUsername, c.Username = true, user
	c.HasPassword, c.Password = true, []byte(password)
	return c
}

func (g *guarded) user(t *testing.T, name string) *brokertest.Client {
	t.Helper()
	return brokertest.Dial(t, g.addr, as(brokertest.Clean(wire.V5, name), name, name))
}

// refusedAs requires a CONNACK with the reason, and the end.
func refusedAs(t *testing.T, addr string, c wire.Connect, want wire.Reason) {
	t.Helper()
	client := brokertest.DialRaw(t, addr, c.Version)
	client.Send(wire.AppendConnect(nil, &c))
	ack, err := wire.DecodeConnack(client.Expect(wire.CONNACK), c.Version)
	if err != nil || ack.Reason != want {
		t.Errorf("%s as %q: CONNACK %+v, %v; want %v", c.ClientID, c.Username, ack, err, want)
	}
	client.ExpectClosed()
}

func TestWhoGetsIn(t *testing.T) {
	g := guard(t, "allow any all #", []string{"ann", "bob"}, func(c *appliance.Config) {
		open := true
		c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "open", Address: "127.0.0.1:0", AllowAnonymous: &open})
	})
	bad3, none3 := wire.BadUserNameOrPassword, wire.NotAuthorized
	for _, v := range []wire.Version{wire.V31, wire.V311, wire.V5} {
		for _, addr := range []string{g.addr, g.Addr("open")} {
			brokertest.Dial(t, addr, as(brokertest.Clean(v, "a"), "ann", "ann")).Disconnect()
			for _, user := range [][2]string{{"ann", "bob"}, {"ann", ""}, {"nobody", "ann"}, {"", "ann"}, {"ann\u200b", "ann"}, {"ANN", "ann"}} {
				refusedAs(t, addr, as(brokertest.Clean(v, "a"), user[0], user[1]), bad3)
			}
			nameOnly := brokertest.Clean(v, "a")
			nameOnly.HasUsername, nameOnly.Username = true, "ann"
			refusedAs(t, addr, nameOnly, bad3)
		}
		refusedAs(t, g.addr, brokertest.Clean(v, "a"), none3)
		brokertest.Dial(t, g.Addr("open"), brokertest.Clean(v, "a")).Disconnect()
	}
	if c := g.user(t, "bob"); c != nil {
		if u := mustClient(t, g.broker, "bob").Username; u != "bob" {
			t.Errorf("the user is %q", u)
		}
	}
}

// What a client may do, in its own words and those of others.
func TestWhatTheyMayDo(t *testing.T) {
	g := guard(t, `
allow user=ann            publish    plant/%c/#
allow group=ops           all        plant/#
deny  any                 subscribe  secret/#
allow user=bob            subscribe  plant/+/temp site/#
allow user=carl           publish    will/ok
`, []string{"ann", "bob", "carl", "olga:ops"}, nil)
	refusals := g.watch(events.Refusal)
	ann, bob, olga := g.user(t, "ann"), g.user(t, "bob"), g.user(t, "olga")
	olga.Subscribe(1, "#")
	codes := bob.SubscribeTo(wire.Subscribe{PacketID: 7, Filters: []wire.Filter{
		{Filter: "plant/#", QoS: 1}, {Filter: "secret/x", QoS: 1}, {Filter: "site/1", QoS: 0}, {Filter: "#/x"}, {Filter: "$share/g/secret/#"}, {Filter: "$share/g/plant/1/temp", QoS: 2}, {Filter: "$SYS/#"}}})
	if want := []wire.Reason{1, wire.NotAuthorized, 0, wire.TopicFilterInvalid, wire.NotAuthorized, 2, wire.NotAuthorized}; !slices.Equal(codes, want) {
		t.Errorf("bob's subscriptions: %v; want %v", codes, want)
	}
	for _, p := range []struct {
		topic string
		want  wire.Reason
	}{{"plant/ann/temp", wire.Success}, {"plant/bob/temp", wire.NotAuthorized}, {"plant", wire.NotAuthorized}, {"secret/x", wire.NotAuthorized}} {
		if got := ann.PublishOut(wire.Out{Version: wire.V5, Topic: []byte(p.topic), QoS: 1, Payload: []byte("1")}); got != p.want && got != wire.NoMatchingSubscribers {
			t.Errorf("ann publishes on %s: %v; want %v", p.topic, got, p.want)
		}
	}
	bob.AutoAck().ExpectMessage("plant/ann/temp", "1")
	olga.AutoAck().ExpectMessage("plant/ann/temp", "1")
	ann.Publish("plant/ann/pressure", "2", 1, false) // bob's filter is wider than what he may read
	olga.ExpectMessage("plant/ann/pressure", "2")
	bob.ExpectNothing()
	for _, topic := range []string{"will/denied", "will/ok"} {
		c := as(brokertest.Clean(wire.V5, "carl"), "carl", "carl")
		c.Will = &wire.Will{Topic: topic, Payload: []byte("gone")}
		brokertest.Dial(t, g.addr, c).Drop()
	}
	ann.ExpectNothing()
	var denied []string
	for _, e := range refusals.await(t, 8) {
		d := e.Data.(events.RefusalData)
		denied = append(denied, d.ClientID+" "+d.What+" "+d.Topic)
	}
	slices.Sort(denied)
	if want := []string{"ann publish plant", "ann publish plant/bob/temp", "ann publish secret/x", "bob subscribe #/x", "bob subscribe $SYS/#", "bob subscribe $share/g/secret/#", "bob subscribe secret/x", "carl publish will/denied"}; !slices.Equal(denied, want) {
		t.Errorf("refusals: %q; want %q", denied, want)
	}
}

// Nobody gets, or ends, the session of somebody else.
func TestNobodyTakesOverAStranger(t *testing.T) {
	g := guard(t, "allow any all #", []string{"ann", "bob"}, func(c *appliance.Config) {
		open := true
		c.Listeners = append(c.Listeners, appliance.ListenerConfig{Name: "open", Address: "127.0.0.1:0", AllowAnonymous: &open})
	})
	for _, connected := range []bool{true, false} {
		ann := brokertest.DialAny(t, g.addr, as(brokertest.Kept(wire.V5, "pump"), "ann", "ann"))
		ann.Subscribe(1, "t")
		if !connected {
			ann.Disconnect()
		}
		for _, c := range []wire.Connect{brokertest.Clean(wire.V5, "pump"), brokertest.Kept(wire.V5, "pump")} {
			refusedAs(t, g.addr, as(c, "bob", "bob"), wire.NotAuthorized)
			refusedAs(t, g.Addr("open"), c, wire.NotAuthorized)
		}
		if connected {
			ann.Ping()
			again := brokertest.DialAny(t, g.addr, as(brokertest.Kept(wire.V5, "pump"), "ann", "ann"))
			if r := ann.ExpectDisconnect(); r != wire.SessionTakenOver {
				t.Errorf("ann heard %v", r)
			}
			again.Disconnect()
		}
		if n := mustClient(t, g.broker, "pump").Subscriptions; n != 1 {
			t.Errorf("ann's session has %d subscriptions", n)
		}
	}
}

// A reload counts at once: for live subscriptions, for publishers, for clients
// whose users are gone, for messages that wait; and a broken file changes nothing.
func TestReload(t *testing.T) {
	const all = "allow any all #\n"
	g := guard(t, all, []string{"ann", "bob", "carl"}, nil)
	ann, carl := g.user(t, "ann"), g.user(t, "carl")
	carl.Subscribe(1, "t")
	away := brokertest.DialAny(t, g.addr, as(brokertest.Kept(wire.V5, "away"), "bob", "bob"))
	away.Subscribe(1, "#")
	away.Disconnect()
	ann.Publish("t", "1", 1, false)
	ann.Publish("u", "2", 1, false)
	carl.AutoAck().ExpectMessage("t", "1")

	for _, broken := range []string{"allow any publish", "alow any all #", "allow any all a/#/b"} {
		g.setRules(t, broken)
		if _, err := g.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), g.rules+":1") {
			t.Errorf("%q: reload says %v", broken, err)
		}
	}
	ann.Publish("t", "3", 1, false)
	carl.ExpectMessage("t", "3")

	g.setRules(t, "deny any subscribe t\n"+all)
	if n := g.reload(t); n != 0 {
		t.Errorf("%d disconnected", n)
	}
	ann.Publish("t", "4", 1, false)
	carl.ExpectNothing()
	back := brokertest.DialAny(t, g.addr, as(brokertest.Kept(wire.V5, "away"), "bob", "bob")).AutoAck()
	back.ExpectMessage("u", "2")
	back.ExpectNothing()
	if n := g.Stats().Dropped.ByReason["not_authorized"]; n != 2 {
		t.Errorf("%d messages dropped as not authorized; want 1 and 3", n)
	}

	g.setUsers(t, "ann", "dora")
	gone := g.watch(events.Disconnection)
	if n := g.reload(t); n != 2 {
		t.Errorf("%d disconnected; want carl and bob", n)
	}
	if r := carl.ExpectDisconnect(); r != wire.NotAuthorized {
		t.Errorf("carl heard %v", r)
	}
	if r := back.ExpectDisconnect(); r != wire.NotAuthorized {
		t.Errorf("bob heard %v", r)
	}
	for _, e := range gone.await(t, 2) {
		if d := e.Data.(events.DisconnectionData); d.Reason != "not_authorized" {
			t.Errorf("%s: reason %s", d.ClientID, d.Reason)
		}
	}
	ann.Ping()
	g.user(t, "dora").Disconnect()
	refusedAs(t, g.addr, as(brokertest.Clean(wire.V5, "carl"), "carl", "carl"), wire.BadUserNameOrPassword)
}

// With a store sessions keep whose they are, and by which rights their messages
// are judged, while nobody is there.
func TestAccessOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	change := func(c *appliance.Config) { c.Storage.Directory = dir }
	const rules = "deny group=guests subscribe secret\nallow any all #"
	users := []string{"ann:guests", "bob"}
	g := guard(t, rules, users, change)
	ann := brokertest.DialAny(t, g.addr, as(brokertest.Kept(wire.V5, "pump"), "ann", "ann"))
	ann.Subscribe(1, "#")
	ann.Disconnect()
	if err := g.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	g = guard(t, rules, users, change)
	bob := g.user(t, "bob")
	bob.Publish("secret", "1", 1, false)
	bob.Publish("open", "2", 1, false)
	if n := mustClient(t, g.broker, "pump").Queued.Messages; n != 1 {
		t.Errorf("%d messages wait; want the one that ann may have", n)
	}
	refusedAs(t, g.addr, as(brokertest.Kept(wire.V5, "pump"), "bob", "bob"), wire.NotAuthorized)
	brokertest.DialAny(t, g.addr, as(brokertest.Kept(wire.V5, "pump"), "ann", "ann")).ExpectMessage("open", "2")
}

// A SUBSCRIBE of very many filters costs no more than some of them.
func TestSubscribeIsJudgedWithinBounds(t *testing.T) {
	g := guard(t, "allow any subscribe open/#\nallow any publish #", []string{"ann"}, nil)
	ann := g.user(t, "ann")
	for _, tt := range []struct {
		filter string
		good   wire.Reason
		n      int // that are judged
	}{{"open/%d", 0, 4096}, {"shut/%d", wire.NotAuthorized, 256}} {
		s := wire.Subscribe{PacketID: 9}
		for i := range 5000 {
			s.Filters = append(s.Filters, wire.Filter{Filter: fmt.Sprintf(tt.filter, i)})
		}
		for i, code := range ann.SubscribeTo(s) {
			want := tt.good
			if i >= tt.n {
				want = wire.QuotaExceeded
			}
			if code != want {
				t.Fatalf("filter %d: %v; want %v", i, code, want)
			}
		}
	}
	ann.Publish("open/7", "x", 0, false)
	ann.ExpectMessage("open/7", "x")
}

// connackOver connects over a socket that is open, and is the answer.
func connackOver(t *testing.T, nc net.Conn, c wire.Connect) wire.Connack {
	t.Helper()
	if _, err := nc.Write(wire.AppendConnect(nil, &c)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	n, err := nc.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := wire.Scan(b[:n], 0)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := wire.DecodeConnack(f, c.Version)
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// A certificate can say who a client is, to the rules and to whom a session
// belongs; beside it a user name counts for nothing.
func TestCertificatesAreIdentities(t *testing.T) {
	p := newPKI(t)
	p.issue(t, "pump-1")
	p.issue(t, "pump-2")
	const rules = `
allow cert=pump-*   publish    up/%u/#
allow user=viewer   subscribe  up/#
`
	for _, names := range []auth.CertificateField{"", auth.CommonName} {
		t.Run("names in "+string(names), func(t *testing.T) {
			g := guard(t, rules, []string{"viewer", "pump-1"}, func(c *appliance.Config) {
				c.Access.Certificates = names
				l := p.listener("tls", appliance.ListenTLS)
				l.ClientCA, l.ClientCertificates = p.CertificateFile(), appliance.ClientCertificatesOptional
				c.Listeners = append(c.Listeners, l)
			})
			connect := func(device string, c wire.Connect) (wire.Reason, net.Conn) {
				t.Helper()
				config := p.clientConfig(t, device)
				nc, err := brokerdial.Secure(t.Context(), "mqtts://"+g.Addr("tls"), patience, config)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { nc.Close() })
				return connackOver(t, nc, c).Reason, nc
			}
			plain := brokertest.Clean(wire.V5, "p1")
			got, _ := connect("pump-1", plain)
			if names == "" { // the certificate lets it connect, and no more
				if got != wire.NotAuthorized {
					t.Errorf("CONNACK %v", got)
				}
				if got, _ := connect("pump-1", as(plain, "pump-1", "pump-1")); got != wire.Success {
					t.Errorf("with a password too: CONNACK %v", got)
				}
				return
			}
			if got != wire.Success || mustClient(t, g.broker, "p1").Username != "pump-1" {
				t.Fatalf("CONNACK %v; the user is %q", got, mustClient(t, g.broker, "p1").Username)
			}
			viewer := g.user(t, "viewer")
			viewer.Subscribe(0, "#")
			got, conn := connect("pump-1", as(plain, "viewer", "viewer")) // it is still who its certificate says
			if got != wire.Success || mustClient(t, g.broker, "p1").Username != "pump-1" {
				t.Fatalf("CONNACK %v; the user is %q", got, mustClient(t, g.broker, "p1").Username)
			}
			for _, topic := range []string{"up/pump-2/t", "up/pump-1/t"} {
				if _, err := conn.Write(wire.AppendPublish(nil, &wire.Out{Version: wire.V5, Topic: []byte(topic), Payload: []byte("x")}, 0)); err != nil {
					t.Fatal(err)
				}
			}
			viewer.ExpectMessage("up/pump-1/t", "x")
			if got, _ := connect("pump-2", plain); got != wire.NotAuthorized {
				t.Errorf("another device took over the session: CONNACK %v", got)
			}
		})
	}
}
