package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// runningBroker is one that commands ask without being told where it is.
type runningBroker struct {
	*appliance.Broker
	addr string
	stop func() (data string) // ends it; its store can be read then
}

// startBroker runs one with a store. change may be nil.
func startBroker(t *testing.T, change func(*appliance.Config), opts ...appliance.Option) *runningBroker {
	t.Helper()
	dir, err := os.MkdirTemp("", "eb") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := appliance.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	cfg.Control.Socket = filepath.Join(dir, "c.sock")
	cfg.Storage.Directory = filepath.Join(dir, "data")
	if change != nil {
		change(&cfg)
	}
	opts = append([]appliance.Option{appliance.WithLogger(slog.New(slog.DiscardHandler)), appliance.WithLogLevel(new(slog.LevelVar)),
		appliance.WithConfigSource(func() (appliance.Config, error) { return cfg, nil })}, opts...)
	b, err := appliance.New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() string {
		ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil && !stopped {
			t.Errorf("stop: %v", err)
		}
		stopped = true
		return cfg.Storage.Directory
	}
	t.Cleanup(func() { stop() })
	t.Setenv(appliance.EnvSocket, cfg.Control.Socket)
	return &runningBroker{Broker: b, addr: b.Addr(cfg.Listeners[0].Name), stop: stop}
}

// startBusy runs a broker on which everything has happened that commands tell of.
func startBusy(t *testing.T, home string) *runningBroker {
	t.Helper()
	far := startBroker(t, func(c *appliance.Config) { c.Limits.MaxPacketSize = appliance.KiB })
	write(t, filepath.Join(home, "rules.busy"), "deny user=pump-1 all secret\nallow any all #\n")
	password := strings.TrimSpace(setPasswordOf(t, home, "pump-1"))
	b := startBroker(t, func(c *appliance.Config) {
		yes := true
		c.Listeners[0].AllowAnonymous = &yes
		c.Access.Passwords, c.Access.Rules, c.Access.Watch = filepath.Join(home, "users"), []string{filepath.Join(home, "rules.busy")}, false
		c.Storage.DailyWriteBudget = appliance.GiB
		c.Events.Recorder.Messages = true
		c.Sessions.MaxQueuedMessages = 3
		c.Sessions.WhenFull = appliance.DropOldest
		c.Bridges = []appliance.BridgeConfig{{Name: "up", Address: "mqtt://" + far.addr, ClientID: "gateway", RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond,
			AckTimeout: 5 * time.Second, KeepAlive: 30 * time.Second, SessionExpiry: time.Hour, MaxQueuedMessages: 100, MaxQueuedBytes: appliance.MiB, WhenFull: appliance.DropOldest,
			Topics: []appliance.BridgeTopic{{Filter: "up/#", Direction: "out", QoS: 1}}}}
	})
	brokertest.WaitFor(t, "the uplink", func() bool { return b.Stats().Bridges[0].State == "up" })

	away := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "away"))
	away.Subscribe(1, "plant/#", "$share/g/plant/+")
	away.Disconnect()
	pump := brokertest.Kept(wire.V5, "pump-7")
	pump.HasUsername, pump.Username, pump.HasPassword, pump.Password = true, "pump-1", true, []byte(password)
	pump.Will = &wire.Will{Topic: "wills/pump", Payload: []byte("gone"), QoS: 1, Retain: true, Delay: 600}
	c := brokertest.Dial(t, b.addr, pump).AutoAck()
	c.Subscribe(2, "own/+")
	for _, payload := range []string{"1", "2", "3", "4", "5"} {
		c.Publish("plant/a", payload, 1, false)
	}
	c.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("plant/b"), Payload: []byte{0xff, 0xfe}, HasExpiry: true, Expiry: 1000})
	c.Publish("plant/queued", "queued-marker", 1, false)
	c.Publish("kept/a", "retained-marker", 1, true)
	c.Publish("clear/a", "x", 1, true)
	for _, words := range [][]string{
		{"pub", "--address", b.addr, "--retain", "--qos", "1", "--content-type", "text/plain", "--response-topic", "answers", "--correlation", "c7", "--user-property", "k=v", "--expiry", "1h", "rich/a", "text"},
		{"pub", "--address", b.addr, "--retain", "--qos", "1", "--file", binaryFile(t, home), "rich/b"},
	} {
		if r := edgebroker(t, words...); r.code != exitOK {
			t.Fatalf("%q: %s", words, r.stderr)
		}
	}
	half := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "half"))
	half.Subscribe(2, "exactly/once")
	c.Publish("exactly/once", "x", 2, false)
	id := half.ExpectPublish().PacketID
	half.Ack(wire.PUBREC, id)
	half.Expect(wire.PUBREL)
	half.Drop()
	gone := pump
	gone.ClientID = "gone"
	brokertest.Dial(t, b.addr, gone).Drop()
	c.Publish("up/large", strings.Repeat("x", 2000), 1, false)
	c.Publish("up/small", "x", 1, false)
	brokertest.WaitFor(t, "a dead letter", func() bool { return b.Stats().Bridges[0].Dead == 1 && b.Stats().Bridges[0].Acked == 1 })
	control := statsd.Dial(os.Getenv(appliance.EnvSocket))
	defer control.Close()
	for _, id := range []string{"half", "gone"} {
		brokertest.WaitFor(t, "the end of "+id, func() bool {
			c, err := control.Client(t.Context(), id)
			return err == nil && !c.Connected
		})
	}
	return b
}

// setPasswordOf gives a user a new password, and returns it.
func setPasswordOf(t *testing.T, home, name string) string {
	t.Helper()
	const password = "a password of the test"
	path := filepath.Join(home, "pw")
	write(t, path, password+"\n")
	if r := edgebroker(t, "users", "passwd", "--file", filepath.Join(home, "users"), "--password-file", path, name); r.code != exitOK {
		t.Fatalf("set the password of %s: %s", name, r.stderr)
	}
	return password
}

func binaryFile(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "binary")
	write(t, path, "\xff\xfe")
	return path
}
