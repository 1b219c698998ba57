package appliance_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// object reads a JSON object that must have exactly these keys, in this order.
func object(t *testing.T, text []byte, keys string) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if want := strings.Fields(keys); !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("%s has not the keys %s", text, keys)
	}
	return got
}

const (
	connectedKeys    = "username ts sockport proto_ver proto_name keepalive ipaddress expiry_interval connected_at connack clientid clean_start"
	disconnectedKeys = "username ts sockport reason proto_ver proto_name ipaddress disconnected_at clientid"
)

// Who comes and goes is told with the fields that EMQX has, under any client
// identifier.
func TestSysClients(t *testing.T) {
	cfg := config(t)
	cfg.Sys = appliance.SysConfig{Clients: true, Subscriptions: true, Node: "n@1"}
	b := start(t, cfg)
	watch := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "watch")).AutoAck()
	watch.Subscribe(2, "$SYS/brokers/+/clients/+/+")
	next := func(topic string) []byte {
		t.Helper()
		for {
			d := watch.ExpectPublish()
			if strings.HasPrefix(string(d.Topic), "$SYS/brokers/n@1/clients/watch/") {
				continue
			}
			if string(d.Topic) != "$SYS/brokers/n@1/clients/"+topic || d.Retain || d.QoS != 0 {
				t.Fatalf("%+v, want %s", d.Publish, topic)
			}
			return d.Payload
		}
	}
	_, port, _ := net.SplitHostPort(b.Addr("tcp"))
	tcp, _ := strconv.ParseFloat(port, 64)

	began := time.Now().UnixMilli()
	con := wire.Connect{Version: wire.V311, ClientID: "a/b+#%<\n>", CleanStart: true, KeepAlive: 77, HasUsername: true, Username: "u&\"v"}
	c := brokertest.Dial(t, b.Addr("tcp"), con)
	const level = "a%2Fb%2B%23%25<%0A>"
	got := object(t, next(level+"/connected"), connectedKeys)
	for key, want := range map[string]any{"username": "u&\"v", "sockport": tcp, "proto_ver": 4.0, "proto_name": "MQTT", "keepalive": 77.0,
		"ipaddress": "127.0.0.1", "expiry_interval": 0.0, "connack": 0.0, "clientid": con.ClientID, "clean_start": true} {
		if got[key] != want {
			t.Errorf("connected: %s is %v, want %v", key, got[key], want)
		}
	}
	if ts := int64(got["ts"].(float64)); ts < began || ts > time.Now().UnixMilli() || got["connected_at"] != got["ts"] {
		t.Errorf("times %v and %v", got["ts"], got["connected_at"])
	}
	c.Subscribe(1, "x/#", "$share/g/y")
	got = object(t, next(level+"/subscribed"), "username ts topic subopts protocol clientid")
	if got["topic"] != "x/#" || got["username"] != "u&\"v" || got["subopts"].(map[string]any)["qos"] != 1.0 {
		t.Errorf("subscribed: %v", got)
	}
	if got = object(t, next(level+"/subscribed"), "username ts topic subopts protocol clientid"); got["subopts"].(map[string]any)["share"] != "g" || got["topic"] != "y" {
		t.Errorf("subscribed: %v", got)
	}
	c.Unsubscribe("x/#")
	if got = object(t, next(level+"/unsubscribed"), "username ts topic protocol clientid"); got["topic"] != "x/#" {
		t.Errorf("unsubscribed: %v", got)
	}
	c.Disconnect()
	got = object(t, next(level+"/disconnected"), disconnectedKeys)
	if got["reason"] != "normal" || got["clientid"] != con.ClientID || got["sockport"] != tcp || got["ipaddress"] != "127.0.0.1" {
		t.Errorf("disconnected: %v", got)
	}

	u := brokertest.Dial(t, "unix:"+b.Addr("unix"), wire.Connect{Version: wire.V5, ClientID: "u", SessionExpiry: 9})
	got = object(t, next("u/connected"), connectedKeys)
	for key, want := range map[string]any{"username": "", "sockport": 0.0, "proto_ver": 5.0, "ipaddress": "", "expiry_interval": 9.0, "clean_start": false} {
		if got[key] != want {
			t.Errorf("connected by a unix socket: %s is %v, want %v", key, got[key], want)
		}
	}
	b.Kick("u")
	u.ReadRest()
	if got = object(t, next("u/disconnected"), disconnectedKeys); got["reason"] != "kicked" {
		t.Errorf("disconnected: %v", got)
	}

	long := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, strings.Repeat("/", 20000)))
	got = object(t, next(strings.Repeat("%2F", 4096/3)+"/connected"), connectedKeys)
	if got["clientid"] != strings.Repeat("/", 20000) {
		t.Errorf("a long client identifier is %.40q...", got["clientid"])
	}
	long.Disconnect()
	v31 := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V31, "old"))
	next(strings.Repeat("%2F", 4096/3) + "/disconnected")
	if got = object(t, next("old/connected"), connectedKeys); got["proto_ver"] != 3.0 || got["proto_name"] != "MQIsdp" {
		t.Errorf("MQTT 3.1: %v", got)
	}
	v31.Disconnect()
}

// Without being asked for, nothing is told of clients; with an interval of 0,
// nothing at all.
func TestSysOff(t *testing.T) {
	cfg := config(t)
	cfg.Sys.Interval = 0
	b := start(t, cfg)
	watch := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "watch"))
	watch.Subscribe(0, "$SYS/#")
	brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).Disconnect()
	brokertest.WaitFor(t, "the client to be gone", func() bool { return b.Stats().ClientCount == 1 })
	watch.ExpectNothing()
}

// With rules, $SYS needs a rule of its own.
func TestSysRules(t *testing.T) {
	cfg := config(t)
	rules := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(rules, []byte("allow client=grafana subscribe $SYS/broker/uptime\nallow any all #\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Access.Rules = []string{rules}
	b := start(t, cfg)
	other := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "other"))
	if codes := other.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: "$SYS/#"}}}); codes[0] != wire.NotAuthorized {
		t.Errorf("anybody may subscribe: %v", codes)
	}
	grafana := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "grafana"))
	grafana.Subscribe(0, "$SYS/#")
	grafana.ExpectMessage("$SYS/broker/uptime", "0 seconds")
	grafana.ExpectNothing()
}

// What $SYS and a StatsD server are told is not changed by a reload.
func TestSysNeedsRestart(t *testing.T) {
	for change, write := range map[string]string{"sys.interval": "sys: {interval: 1m}", "statsd.address": "statsd: {address: \"udp://127.0.0.1:9\"}"} {
		cfg := config(t)
		next := cfg
		b := start(t, cfg, appliance.WithConfigSource(func() (appliance.Config, error) { return next, nil }))
		parsed, err := appliance.ParseConfig("x", []byte(write))
		if err != nil {
			t.Fatal(err)
		}
		next.Sys, next.Statsd = parsed.Sys, parsed.Statsd
		if _, err := b.Reload(t.Context()); !errors.Is(err, appliance.ErrRestart) || !strings.Contains(err.Error(), change) {
			t.Errorf("%s: %v", change, err)
		}
	}
}
