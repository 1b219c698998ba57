package moving

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// The far side gets by an uplink what it gets by mosquitto's bridge, and so the
// other way round.
func TestImportedBridgesPassTheSame(t *testing.T) {
	far := appliance.DefaultConfig()
	far.Listeners[0].Address = "127.0.0.1:0"
	far.Control.Socket = filepath.Join(t.TempDir(), "s")
	b, err := appliance.New(far)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	_, err = b.OnTopic("#", func(e events.Event) {
		mu.Lock()
		defer mu.Unlock()
		if m, ok := e.Data.(events.MessageData); ok {
			seen[m.Topic] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.On(string(events.Subscription), func(events.Event) {
		mu.Lock()
		defer mu.Unlock()
		seen["/ready"] = true
	})
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	got := func() (list []string) {
		mu.Lock()
		defer mu.Unlock()
		for topic := range seen {
			if !strings.HasPrefix(topic, "from/") && !strings.HasSuffix(topic, "/ready") {
				list = append(list, topic)
			}
		}
		slices.Sort(list)
		return list
	}
	var results [][]string
	for i, name := range []string{"mosquitto", "edgebroker"} {
		mu.Lock()
		clear(seen)
		mu.Unlock()
		dir := t.TempDir()
		near := brokertest.Ports(t, 1)[0]
		_, port, _ := net.SplitHostPort(near)
		path := filepath.Join(dir, "conf")
		write(t, path, fmt.Sprintf("user root\nset_tcp_nodelay true\nlistener %s 127.0.0.1\nallow_anonymous true\nconnection up\naddress %s\nremote_clientid near%d\n"+
			"bridge_protocol_version mqttv50\nnotifications false\ntopic # out 1 l/ r/\ntopic +/b out 0\ntopic \"\" out 2 s/temp d/temp\ntopic x/# in 1 here/ from/\n", port, b.Stats().Listeners[0].Address, i))
		if name == "mosquitto" {
			startMosquitto(t, path, near)
		} else {
			startImported(t, Options{File: path, Dir: dir, Out: filepath.Join(dir, "out"), Host: "h"})
		}
		c := brokertest.Dial(t, near, brokertest.Clean(wire.V5, "c")).AutoAck()
		c.Subscribe(0, "here/#")
		brokertest.WaitFor(t, "the way to the far side", func() bool {
			c.Publish("l/ready", "x", 0, false)
			c.Ping()
			mu.Lock()
			defer mu.Unlock()
			return seen["r/ready"] && seen["/ready"]
		})
		// Not l itself, of which mosquitto makes r/l.
		for _, topic := range []string{"l/a", "l/a/b", "x/1", "a/b", "a/b/c", "s/temp", "s/temp/x", "r/a", "d/temp", "l/end"} {
			c.Publish(topic, "x", 1, false)
		}
		brokertest.WaitFor(t, "the last message", func() bool {
			return slices.Contains(got(), "r/end") && slices.Contains(got(), "d/temp") && slices.Contains(got(), "a/b")
		})
		if err := b.Publish(t.Context(), appliance.Message{Topic: "from/x/1", Payload: []byte("in"), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		c.ExpectMessage("here/x/1", "in")
		results = append(results, got())
	}
	if !slices.Equal(results[0], results[1]) {
		t.Errorf("by mosquitto %q\nby edgebroker %q", results[0], results[1])
	}
}

// Clients that show a certificate are who it says they are, for both brokers, and
// nobody else gets in.
func TestImportedCertificatesNameClients(t *testing.T) {
	dir := t.TempDir()
	issue := func(name string) *certs.Authority {
		a, err := certs.CreateAuthority(filepath.Join(dir, name), name)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	own, other := issue("own"), issue("other")
	server, err := own.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := server.Write(at("server.crt"), at("server.key"), false); err != nil {
		t.Fatal(err)
	}
	shown := map[string]*tls.Certificate{"nothing": nil}
	for _, a := range []struct {
		name string
		by   *certs.Authority
	}{{"ann", own}, {"bob", own}, {"stranger", other}} {
		c, err := a.by.IssueClient(certs.Request{Name: a.name})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write(at(a.name+".crt"), at(a.name+".key"), false); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(at(a.name+".crt"), at(a.name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		shown[a.name] = &pair
	}
	write(t, at("acl"), "pattern readwrite own/%u/#\nuser bob\ntopic all/#\n")
	ports := brokertest.Ports(t, 2)
	for i, a := range ports {
		_, port, _ := net.SplitHostPort(a)
		path := at(fmt.Sprint("conf", i))
		write(t, path, fmt.Sprintf("user root\nset_tcp_nodelay true\nacl_file DIR/acl\nlistener %s 127.0.0.1\ncafile DIR/own/ca.crt\ncertfile DIR/server.crt\nkeyfile DIR/server.key\nrequire_certificate true\nuse_identity_as_username true\n", port))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, strings.ReplaceAll(string(text), "DIR", dir))
		if i == 0 {
			startMosquitto(t, path, a)
		} else {
			startImported(t, Options{File: path, Dir: dir, Out: at("out"), Host: "h"})
		}
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(at("own/ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	for who, pair := range shown {
		for i, a := range ports {
			got := map[string]bool{}
			for _, topic := range []string{"own/ann/x", "own/bob/x", "all/x", "else"} {
				got[topic] = echoes(a, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, pair, topic)
			}
			want := map[string]bool{"own/ann/x": who == "ann", "own/bob/x": who == "bob", "all/x": who == "bob", "else": false}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("broker %d, %s: got %v", i, who, got)
			}
		}
	}
}

// echoes reports whether a client that shows a certificate gets back what it
// publishes on topic.
func echoes(address string, config *tls.Config, pair *tls.Certificate, topic string) bool {
	if pair != nil {
		config.Certificates = []tls.Certificate{*pair}
	}
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return false
	}
	defer conn.Close()
	con := brokertest.Clean(wire.V311, "c")
	con.HasUsername, con.Username, con.HasPassword, con.Password = true, "bob", true, []byte("what I like")
	out := wire.AppendConnect(nil, &con)
	out = append(out, 0x82, byte(5+len(topic)), 0, 1, 0, byte(len(topic)))
	out = append(append(out, topic...), 0)
	out = append(out, 0x30, byte(2+len(topic)), 0, byte(len(topic)))
	out = append(append(out, topic...), 0xC0, 0, 0xE0, 0) // ping, and goodbye
	if _, err := conn.Write(out); err != nil {
		return false
	}
	all, _ := io.ReadAll(conn) // ends as the broker likes
	return strings.Contains(string(all), topic)
}
