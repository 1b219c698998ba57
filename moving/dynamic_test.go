package moving

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/moving/mosquitto"
	"github.com/synthetism/edgebroker/wire"
)

// dynamicPlugin is where mosquitto's plugin lies.
func dynamicPlugin(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/*/mosquitto_dynamic_security.so", "/usr/lib/mosquitto_dynamic_security.so"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	t.Skip("mosquitto's plugin for dynamic security is not installed")
	return ""
}

// inOrder has no two with the same priority, among which it would be open who is
// asked first.
func inOrder(r *rand.Rand, n int) []int { return r.Perm(n) }

// randomDynamic is users, groups and roles, as the plugin keeps them.
func randomDynamic(t testing.TB, r *rand.Rand, users []string) *mosquitto.Dynamic {
	t.Helper()
	topics := []string{"a", "a/#", "a/+", "a/b", "b/#", "#", "+/b", "a/b/#", "c", "b/+/d"}
	d := &mosquitto.Dynamic{}
	d.Defaults.Send, d.Defaults.Subscribe, d.Defaults.Receive = r.IntN(3) == 0, r.IntN(3) == 0, r.IntN(6) > 0
	var names []string
	for i := range 4 {
		role := mosquitto.DynamicRole{Name: fmt.Sprint("r", i)}
		names = append(names, role.Name)
		for _, p := range inOrder(r, 1+r.IntN(5)) {
			kinds := []string{"publishClientSend", "publishClientReceive", "subscribeLiteral", "subscribePattern", "subscribePattern", "unsubscribePattern"}
			role.ACLs = append(role.ACLs, mosquitto.DynamicACL{Type: kinds[r.IntN(len(kinds))], Topic: topics[r.IntN(len(topics))], Priority: p, Allow: r.IntN(3) > 0})
		}
		d.Roles = append(d.Roles, role)
	}
	some := func() (refs []mosquitto.RoleRef) {
		order := inOrder(r, len(names))
		for i, p := range order[:r.IntN(3)] {
			refs = append(refs, mosquitto.RoleRef{Name: names[i], Priority: p})
		}
		return refs
	}
	for _, u := range users {
		salt := []byte("twelve bytes")
		key, err := pbkdf2.Key(sha512.New, "pw of "+u, salt, 101, 64)
		if err != nil {
			t.Fatal(err)
		}
		d.Clients = append(d.Clients, mosquitto.DynamicClient{Username: u, Password: base64.StdEncoding.EncodeToString(key), Salt: base64.StdEncoding.EncodeToString(salt), Iterations: 101, Roles: some()})
	}
	prio := inOrder(r, 2)
	for i := range 2 {
		g := mosquitto.DynamicGroup{Name: fmt.Sprint("g", i), Roles: some()}
		for _, u := range users {
			if r.IntN(2) == 0 {
				g.Clients = append(g.Clients, struct {
					Username string `json:"username"`
					Priority int    `json:"priority"`
				}{u, prio[i]})
			}
		}
		d.Groups = append(d.Groups, g)
	}
	d.Groups = append(d.Groups, mosquitto.DynamicGroup{Name: "nobody", Roles: some()})
	d.Anonymous = "nobody"
	return d
}

// With the plugin for dynamic security, too, nobody may do here what they may not
// at mosquitto. Publishing is the same; reading is, but for what the report says.
func TestImportedDynamicSecurity(t *testing.T) {
	so, version := dynamicPlugin(t), installed(t)
	users := []string{"ann", "bob", "eve"}
	topics := []string{"a", "a/b", "a/c", "a/b/c", "b", "b/c/d", "c", "x/b"}
	compared, allowed, less := 0, 0, 0
	for seed := range uint64(8) {
		dir := t.TempDir()
		d := randomDynamic(t, rand.New(rand.NewPCG(seed, 1)), users)
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "dynamic.json")
		write(t, file, string(text))
		ports := brokertest.Ports(t, 2)
		var paths []string
		for i, a := range ports {
			_, port, _ := net.SplitHostPort(a)
			paths = append(paths, filepath.Join(dir, fmt.Sprint(i)))
			write(t, paths[i], fmt.Sprintf("user root\nset_tcp_nodelay true\nlistener %s 127.0.0.1\nallow_anonymous true\nplugin %s\nplugin_opt_config_file %s\n", port, so, file))
		}
		startMosquitto(t, paths[0], ports[0])
		r := startImported(t, Options{File: paths[1], Dir: dir, Out: filepath.Join(dir, "out"), Host: "h", Version: version})
		want, got := askDynamic(t, ports[0], d, users, topics), askDynamic(t, ports[1], d, users, topics)
		for _, kind := range []string{"write", "read"} {
			for _, u := range append([]string{""}, users...) {
				for _, topic := range topics {
					key := kind + " " + u + " " + topic
					compared++
					switch {
					case got[key] && !want[key]:
						t.Errorf("%d: %q may %s %s here, and not at mosquitto\n%s\n%s", seed, u, kind, topic, text, r.Files[2].Data)
					case want[key] && !got[key] && kind == "write":
						t.Errorf("%d: %q may write %s at mosquitto, and not here\n%s\n%s", seed, u, topic, text, r.Files[2].Data)
					case want[key] && !got[key]:
						less++
					case got[key]:
						allowed++
					}
				}
			}
		}
	}
	if allowed < compared/10 {
		t.Errorf("of %d answers %d allow: the test does not test", compared, allowed)
	}
	t.Logf("%d answers, %d allow, %d less", compared, allowed, less)
}

// askDynamic tries who may publish to topics, and read, by whatever filter, what
// anybody has published.
func askDynamic(t testing.TB, address string, d *mosquitto.Dynamic, users, topics []string) answers {
	t.Helper()
	filters := slices.Clone(topics)
	for _, r := range d.Roles {
		for _, a := range r.ACLs {
			if !slices.Contains(filters, a.Topic) {
				filters = append(filters, a.Topic)
			}
		}
	}
	everybody := append([]string{""}, users...)
	var clients []*brokertest.Client
	for _, u := range everybody {
		con := brokertest.Clean(wire.V5, "c-"+u)
		if u != "" {
			con.HasUsername, con.Username, con.HasPassword, con.Password = true, u, true, []byte("pw of "+u)
		}
		c := brokertest.Dial(t, address, con)
		for _, f := range filters {
			c.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: f, QoS: 0}}})
		}
		clients = append(clients, c)
	}
	got := answers{}
	for i, c := range clients {
		for _, topic := range topics {
			reason := c.PublishOut(wire.Out{Topic: []byte(topic), Payload: []byte("x"), QoS: 1})
			got["write "+everybody[i]+" "+topic] = reason != wire.NotAuthorized
		}
	}
	for _, c := range clients {
		c.Ping()
	}
	for i, c := range clients {
		c.Send([]byte{0xE0, 0})
		for _, f := range c.ReadRest() {
			if f.Type == wire.PUBLISH {
				delivery, err := wire.DecodeDelivery(f, wire.V5)
				if err != nil {
					t.Fatal(err)
				}
				got["read "+everybody[i]+" "+string(delivery.Topic)] = true
			}
		}
	}
	return got
}

func TestDynamicSecurity(t *testing.T) {
	const hash = `"password":"fBPSkq/rfNyEQ/TkEjRgwGTTVBpvNhKSyGShovH9KHewsvJ731tD5Zx26IHhR5RYCICt0L9qBW0/KK31UkCliw==","salt":"U+qg0/32F0g2Fh+n","iterations":101`
	for name, c := range map[string]struct {
		json     string
		version  Version
		users    string
		rules    string
		security int
	}{
		"one of each": {
			`{"defaultACLAccess":{"publishClientSend":false,"publishClientReceive":true,"subscribe":false,"unsubscribe":true},
			"clients":[{"username":"ann","clientid":"c1",` + hash + `,"roles":[{"rolename":"r"}]},{"username":"off","disabled":true,` + hash + `},{"username":"none"}],
			"roles":[{"rolename":"r","acls":[{"acltype":"publishClientSend","topic":"a/#","allow":true},{"acltype":"publishClientSend","topic":"a/x","allow":false,"priority":1},
			{"acltype":"subscribePattern","topic":"b/#","allow":true},{"acltype":"publishClientReceive","topic":"b/x","allow":false},{"acltype":"publishClientSend","topic":"$CONTROL/#","allow":true}]}]}`,
			Unknown, "ann", "deny user=ann publish a/x\nallow user=ann client=c1 publish a/#\ndeny user=ann subscribe b/x\nallow user=ann client=c1 subscribe b/#\ndeny user=* all #\n", 0,
		},
		"names, of which it is not known": {
			`{"clients":[{"username":"ann",` + hash + `,"roles":[{"rolename":"r"}]}],"defaultACLAccess":{"publishClientReceive":true},
			"roles":[{"rolename":"r","acls":[{"acltype":"publishClientSend","topic":"a/%u","allow":true},{"acltype":"publishClientSend","topic":"b/%c","allow":false}]}]}`,
			Unknown, "ann", "deny user=ann publish b/%%c\ndeny user=ann publish b/%c\ndeny user=* all #\n", 1,
		},
		"names": {
			`{"clients":[{"username":"ann",` + hash + `,"roles":[{"rolename":"r"}]}],"defaultACLAccess":{"publishClientReceive":true},
			"roles":[{"rolename":"r","acls":[{"acltype":"publishClientSend","topic":"a/%u","allow":true}]}]}`,
			V21, "ann", "allow user=ann publish a/%u\ndeny user=* all #\n", 0,
		},
		"nothing is received": {
			`{"clients":[{"username":"ann",` + hash + `,"roles":[{"rolename":"r"}]}],
			"roles":[{"rolename":"r","acls":[{"acltype":"subscribePattern","topic":"a/#","allow":true}]}]}`,
			V21, "ann", "deny user=* all #\n", 1,
		},
		"no JSON":       {`{"clients":[`, Unknown, "", "", 2},
		"a user twice":  {`{"clients":[{"username":"a"},{"username":"a"}]}`, Unknown, "", "", 2},
		"what follows":  {`{} {}`, Unknown, "", "", 2},
		"unknown types": {`{"roles":[{"rolename":"r","acls":[{"acltype":"new","topic":"a","allow":true}]}],"groups":[{"groupname":"g","roles":[{"rolename":"r"}]}],"anonymousGroup":"g"}`, Unknown, "", "deny user=* all #\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "d.json"), c.json)
			r, _ := imported(t, "listener 1883 127.0.0.1\nplugin /usr/lib/mosquitto_dynamic_security.so\nplugin_opt_config_file "+dir+"/d.json\n", c.version)
			files := map[string]string{}
			for _, f := range r.Files {
				lines := slices.DeleteFunc(strings.SplitAfter(string(f.Data), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
				files[f.Name] = strings.Join(lines, "")
			}
			if files[RulesName] != c.rules || r.Report.Security() != c.security {
				t.Errorf("%d to look at, rules\n%s%+v", r.Report.Security(), files[RulesName], r.Report)
			}
			name, _, _ := strings.Cut(files[UsersName], ":")
			if name != c.users || strings.Count(files[UsersName], "\n") != min(len(c.users), 1) {
				t.Errorf("users\n%s", files[UsersName])
			}
			if _, err := acl.Parse("", []byte(files[RulesName])); err != nil {
				t.Error(err)
			}
		})
	}
}
