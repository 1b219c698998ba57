package moving

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/moving/mosquitto"
	"github.com/synthetism/edgebroker/wire"
)

// program is a program of mosquitto's; without it the test is skipped.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if path = "/usr/sbin/" + name; func() bool { _, err := os.Stat(path); return err != nil }() {
		t.Skip(name + " is not installed")
	}
	return path
}

// installed is the version of mosquitto that is installed.
func installed(t testing.TB) Version {
	t.Helper()
	out, _ := exec.Command(program(t, "mosquitto"), "-h").Output() // exits with 3 in some versions
	first, _, _ := strings.Cut(string(out), "\n")
	v, err := ParseVersion(strings.TrimPrefix(first, "mosquitto version "))
	if err != nil || v == Unknown || v == V1 {
		t.Skipf("mosquitto is not of version 2: %q", first)
	}
	return v
}

// startMosquitto runs it with a config until the test ends.
func startMosquitto(t testing.TB, conf, address string) {
	t.Helper()
	cmd := exec.Command(program(t, "mosquitto"), "-c", conf)
	log := &brokertest.Log{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("mosquitto: %.4000s", log)
		}
	})
	brokertest.WaitFor(t, "mosquitto", func() bool {
		nc, err := net.Dial("tcp", address)
		return err == nil && nc.Close() == nil
	})
}

// startImported runs edgebroker with what the config comes to.
func startImported(t testing.TB, o Options) *Result {
	t.Helper()
	r, err := Convert(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(t.Context(), o.Out, false); err != nil {
		t.Fatal(err)
	}
	cfg, err := appliance.CheckConfig(filepath.Join(o.Out, ConfigName))
	if err == nil {
		_, err = cfg.CheckFiles()
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.Control.Socket = filepath.Join(t.TempDir(), "s")
	b, err := appliance.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// passwordFile has mosquitto_passwd write one, in both forms.
func passwordFile(t testing.TB, path string, users []string) {
	t.Helper()
	write(t, path, "# users\n")
	for i, u := range users {
		args := []string{"-b", path, u, "pw of " + u}
		if i%2 == 1 {
			args = append([]string{"-H", "sha512"}, args...)
		}
		if out, err := exec.Command(program(t, "mosquitto_passwd"), args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd %v: %v\n%s", args, err, out)
		}
	}
}

// answers are what a client may publish and read, by listener, client and topic.
type answers map[string]bool

// ask tries, at one broker, for each listener and client which of topics it may
// publish to and which it is sent. At the last address everybody may do all.
func ask(t testing.TB, addresses []string, clients []who, topics []string) answers {
	t.Helper()
	got := answers{}
	last := len(addresses) - 1
	observer := brokertest.Dial(t, addresses[last], brokertest.Clean(wire.V311, "observer"))
	observer.Subscribe(0, "#")
	for i, address := range addresses[:last] {
		for j, w := range clients {
			con := brokertest.Clean(wire.V311, w.client)
			if w.named {
				con.HasUsername, con.Username, con.HasPassword, con.Password = true, w.user, true, []byte("pw of "+w.user)
			}
			c := brokertest.Dial(t, address, con)
			c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: "#"}}})
			for _, topic := range topics {
				c.Publish(topic, fmt.Sprintf("write %d %d", i, j), 0, false)
			}
			c.Ping()
			for _, topic := range topics {
				observer.Publish(topic, fmt.Sprintf("read %d %d", i, j), 0, false)
			}
			observer.Ping()
			c.Ping()
			note(t, got, c, "read")
		}
	}
	observer.Ping()
	note(t, got, observer, "write")
	return got
}

// note ends a connection and notes which messages of a kind have come by it.
func note(t testing.TB, got answers, c *brokertest.Client, kind string) {
	t.Helper()
	c.Send([]byte{0xE0, 0})
	for _, f := range c.ReadRest() {
		if f.Type != wire.PUBLISH {
			continue
		}
		d, err := wire.DecodeDelivery(f, wire.V311)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(d.Payload), kind) {
			got[string(d.Payload)+" "+string(d.Topic)] = true
		}
	}
}

// What clients may publish and read at mosquitto, with random files of rules, is
// what they may at edgebroker after the import; with passwords as
// mosquitto_passwd has hashed them.
func TestImportedBrokerAllowsAsMosquitto(t *testing.T) {
	const files = 12
	version := installed(t)
	dir := t.TempDir()
	var users []string
	for _, u := range userNames() {
		if u != "#" { // a comment
			users = append(users, u)
		}
	}
	passwords := filepath.Join(dir, "passwords")
	passwordFile(t, passwords, users)
	var clients []who
	for i, c := range clientNames() {
		clients = append(clients, who{client: c}, who{client: c, named: true, user: users[i%len(users)]})
	}
	topics := []string{"a", "b", "a/b", "a/b/c", "bob", "bob/a", "a/bob", "c1", "xbob", "c1-y", "b/c1", "ann/b", "a*", `\`, "%u", "x%u", "d e", "a/c", "b/a/c"}
	acls := make([]string, files)
	for i := range acls {
		acls[i] = rapid.Custom(drawLongACL).Example(i + 1)
		write(t, filepath.Join(dir, fmt.Sprint("acl", i)), acls[i])
	}
	conf := func(name string) (path string, addresses []string) {
		addresses = brokertest.Ports(t, files+1)
		var b strings.Builder
		b.WriteString("user root\nset_tcp_nodelay true\nper_listener_settings true\n") // else it may not read what root wrote
		for i, a := range addresses {
			_, port, _ := net.SplitHostPort(a)
			fmt.Fprintf(&b, "listener %s 127.0.0.1\nallow_anonymous true\npassword_file %s\n", port, passwords)
			if i < files {
				fmt.Fprintf(&b, "acl_file %s/acl%d\n", dir, i)
			}
		}
		path = filepath.Join(dir, name)
		write(t, path, b.String())
		return path, addresses
	}
	path, there := conf("mosquitto.conf")
	startMosquitto(t, path, there[files])
	path, here := conf("imported.conf")
	r := startImported(t, Options{File: path, Dir: dir, Out: filepath.Join(dir, "out"), Host: "h", Version: version})
	want, got := ask(t, there, clients, topics), ask(t, here, clients, topics)
	exact, compared, less := true, 0, 0
	marked := map[int]bool{}
	for _, e := range r.Report {
		var i int
		if _, err := fmt.Sscanf(filepath.Base(e.File), "acl%d", &i); err == nil && e.Security {
			marked[i], exact = true, false
		}
	}
	for i := range files {
		lines := mosquitto.ParseACL([]byte(acls[i]))
		for j, w := range clients {
			odd := strings.ContainsAny(w.user+w.client, "+#/") || strings.HasPrefix(w.user, "$") || strings.HasPrefix(w.client, "$")
			for _, topic := range topics {
				for kind, access := range map[string]mosquitto.Access{"read": mosquitto.Read, "write": mosquitto.Write} {
					key := fmt.Sprintf("%s %d %d %s", kind, i, j, topic)
					compared++
					if model := decide(lines, w, access, topic, version == V21); model != want[key] {
						t.Errorf("the model of mosquitto is wrong: %+v, %s %q: %v\n%s", w, kind, topic, model, acls[i])
					}
					switch {
					case got[key] && !want[key]:
						t.Errorf("%+v may %s %q, and not with mosquitto\n%s", w, kind, topic, acls[i])
					case want[key] && !got[key] && !odd && !marked[i]:
						t.Errorf("%+v may not %s %q, and may with mosquitto\n%s", w, kind, topic, acls[i])
					case want[key] && !got[key]:
						less++
					}
				}
			}
		}
	}
	if len(want) < compared/100 {
		t.Errorf("of %d answers %d allow: the test does not test", compared, len(want))
	}
	t.Logf("%d answers, %d allow with mosquitto, %d less here (odd names), exact %v", compared, len(want), less, exact)
}

// Who gets in at mosquitto gets in after the import, and nobody else.
func TestImportedBrokerLetsInAsMosquitto(t *testing.T) {
	dir := t.TempDir()
	passwordFile(t, filepath.Join(dir, "p1"), []string{"ann", "bob"})
	passwordFile(t, filepath.Join(dir, "p2"), []string{"ann", "eve"}) // another hash of the same password
	write(t, filepath.Join(dir, "acl"), "topic a\nuser ann\ntopic b\n")
	for name, c := range map[string]struct {
		text  string // with PORT
		allow []string
	}{
		"nothing said":         {"listener PORT 127.0.0.1\n", nil},
		"anonymous":            {"listener PORT 127.0.0.1\nallow_anonymous true\n", []string{""}},
		"passwords":            {"listener PORT 127.0.0.1\npassword_file DIR/p1\n", []string{"ann", "bob"}},
		"passwords, anonymous": {"password_file DIR/p1\nallow_anonymous true\nlistener PORT 127.0.0.1\n", []string{"", "ann", "bob"}},
		"after the listener":   {"listener PORT 127.0.0.1\npassword_file DIR/p2\nallow_anonymous false\n", []string{"ann", "eve"}},
		"old port":             {"port PORT\nbind_address 127.0.0.1\npassword_file DIR/p1\n", []string{"ann", "bob"}},
		"per listener":         {"per_listener_settings true\nlistener PORT 127.0.0.1\npassword_file DIR/p1\n", []string{"ann", "bob"}},
		"rules alone":          {"listener PORT 127.0.0.1\nacl_file DIR/acl\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ports := brokertest.Ports(t, 2)
			var paths []string
			for i, a := range ports {
				_, port, _ := net.SplitHostPort(a)
				paths = append(paths, filepath.Join(t.TempDir(), fmt.Sprint(i)))
				write(t, paths[i], "user root\n"+strings.NewReplacer("PORT", port, "DIR", dir).Replace(c.text))
			}
			startMosquitto(t, paths[0], ports[0])
			r := startImported(t, Options{File: paths[1], Dir: dir, Out: filepath.Join(t.TempDir(), "out"), Host: "h"})
			for _, e := range r.Report {
				if e.Security {
					t.Errorf("marked: %+v", e)
				}
			}
			for _, u := range []string{"", "ann", "bob", "eve", "zoe", "!ann", "!bob"} {
				con := brokertest.Clean(wire.V311, "c-"+u)
				if name, wrong := strings.CutPrefix(u, "!"); u != "" {
					con.HasUsername, con.Username, con.HasPassword, con.Password = true, name, true, []byte("pw of "+name)
					if wrong {
						con.Password = []byte("wrong")
					}
				}
				want := strings.Contains(","+strings.Join(c.allow, ",")+",", ","+u+",") && c.allow != nil
				for i, a := range ports {
					got := brokertest.DialAny(t, a, con).Connack.Reason == wire.Success
					if len(c.allow) == 1 && c.allow[0] == "" && u != "" {
						continue // names that nobody has proven; as nobody in particular here
					}
					if got != want {
						t.Errorf("broker %d: %q gets in: %v", i, u, got)
					}
				}
			}
		})
	}
}
