package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// startMosquitto runs the other broker on a unix socket and returns its address.
func startMosquitto(t *testing.T) string {
	t.Helper()
	path := program(t, "mosquitto")
	dir, err := os.MkdirTemp("", "eb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, conf := filepath.Join(dir, "m.sock"), filepath.Join(dir, "m.conf")
	text := fmt.Sprintf("listener 0 %s\nallow_anonymous true\nsys_interval 1\n", socket)
	if os.Getuid() == 0 {
		text += "user root\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := exec.Command(path, "-c", conf, "-v")
	log := new(brokertest.Log)
	broker.Stdout, broker.Stderr = log, log
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Kill()
		_ = broker.Wait()
		if t.Failed() {
			t.Logf("mosquitto's log:\n%s", log)
		}
	})
	brokertest.WaitFor(t, "mosquitto to listen", func() bool {
		_, err := os.Stat(socket)
		return err == nil && strings.Contains(log.String(), "running")
	})
	return "unix:" + socket
}

// sysValues watches $SYS of the broker at addr until its loads count the
// messages of a client, and returns the last value of each topic.
func sysValues(t *testing.T, addr string) map[string]string {
	t.Helper()
	pub := brokertest.Dial(t, addr, brokertest.Clean(wire.V311, "pub")).AutoAck()
	pub.Publish("a", "x", 1, false) // mosquitto does not count retained ones
	c := brokertest.Dial(t, addr, brokertest.Clean(wire.V311, "watch")).AutoAck()
	c.Subscribe(0, "$SYS/#")
	values, deadline := make(map[string]string), time.Now().Add(brokertest.Patience/4)
	for values["$SYS/broker/publish/messages/received"] != "1" || values["$SYS/broker/publish/bytes/received"] != "1" || values["$SYS/broker/clients/maximum"] != "2" || values["$SYS/broker/load/connections/1min"] == "0.00" {
		d := c.ExpectPublish()
		values[string(d.Topic)] = string(d.Payload)
		if time.Now().After(deadline) {
			t.Fatalf("the values do not come to what has happened: %q", values)
		}
	}
	return values
}

// form is what a value looks like.
func form(value string) string {
	for name, re := range map[string]string{
		"a whole number": `^[0-9]+$`, "two decimals": `^[0-9]+\.[0-9]{2}$`, "seconds": `^[0-9]+ seconds$`, "a version": `^[a-z]+ version \S+$`,
	} {
		if regexp.MustCompile(re).MatchString(value) {
			return name
		}
	}
	return strconv.Quote(value)
}

// The topics of $SYS and the forms of their values are those of the real
// mosquitto, and three that its next version has.
func TestSysLikeMosquitto(t *testing.T) {
	theirs := sysValues(t, startMosquitto(t))
	b := start(t, func(c *appliance.Config) { c.Sys.Interval = time.Second })
	ours := sysValues(t, b.addr)
	next := []string{"$SYS/broker/connections/socket/count", "$SYS/broker/packet/out/bytes", "$SYS/broker/packet/out/count"}
	for topic, value := range theirs {
		if _, ok := ours[topic]; !ok {
			t.Errorf("%s is missing; mosquitto has %s", topic, value)
		} else if form(ours[topic]) != form(value) {
			t.Errorf("%s is %s, mosquitto's is %s", topic, ours[topic], value)
		}
	}
	var more []string
	for topic, value := range ours {
		if _, ok := theirs[topic]; !ok {
			more = append(more, topic)
		}
		if form(value) == strconv.Quote(value) {
			t.Errorf("%s is %s", topic, value)
		}
	}
	slices.Sort(more)
	if len(theirs) < 50 || len(more) > 0 && !slices.Equal(more, next) { // none with mosquitto 2.1
		t.Errorf("mosquitto has %d topics; we have besides: %q", len(theirs), more)
	}
	for _, topic := range []string{"clients/total", "clients/connected", "clients/disconnected", "clients/maximum", "clients/expired",
		"publish/messages/received", "publish/bytes/received", "publish/messages/dropped", "subscriptions/count", "shared_subscriptions/count"} {
		if topic = "$SYS/broker/" + topic; ours[topic] != theirs[topic] {
			t.Errorf("after the same things %s is %s, mosquitto's is %s", topic, ours[topic], theirs[topic])
		}
	}
}

// Values are those of Stats, and mosquitto_sub shows them.
func TestSysEqualsStats(t *testing.T) {
	b := start(t, func(c *appliance.Config) { c.Sys.Interval = time.Second })
	kept := brokertest.Dial(t, b.addr, brokertest.Kept(wire.V5, "kept")).AutoAck()
	kept.Subscribe(1, "k/#", "$share/g/s")
	kept.Drop()
	pub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "pub")).AutoAck()
	for i := range 20 {
		pub.Publish(fmt.Sprint("k/", i), "payload", byte(i%3), i%2 == 0)
	}
	pub.Publish("nobody", "1", 1, false)
	pub.Disconnect()
	brokertest.WaitFor(t, "the clients to be gone", func() bool { return b.Stats().ClientCount == 0 })
	c := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "watch"))
	c.Subscribe(0, "$SYS/broker/uptime")
	for uptime := 0; uptime < 2; uptime++ { // two intervals with nothing but this client
		for seen := c.ExpectPublish(); seen.Retain; seen = c.ExpectPublish() {
		}
	}
	s := b.Stats()
	c.Subscribe(0, "$SYS/#")
	values := make(map[string]string)
	for len(values) < 56 {
		if d := c.ExpectPublish(); d.Retain {
			values[strings.TrimPrefix(string(d.Topic), "$SYS/broker/")] = string(d.Payload)
		}
	}
	for topic, want := range statsValues(s) {
		if values[topic] != fmt.Sprint(want) {
			t.Errorf("%s is %s, Stats says %v", topic, values[topic], want)
		}
	}
	out, err := exec.CommandContext(within(t), program(t, "mosquitto_sub"), append((&mosquittoClient{options: options{at: b.addr}, version: "311"}).connection(t),
		"-t", "$SYS/broker/retained messages/count", "-C", "1", "-F", "%r %p")...).CombinedOutput()
	if err != nil || string(out) != fmt.Sprintf("1 %d\n", s.Retained.Messages) {
		t.Errorf("mosquitto_sub: %s, %v", out, err)
	}
}

func statsValues(s statsd.Snapshot) map[string]any {
	return map[string]any{
		"clients/total": s.Sessions.Total, "clients/connected": s.ClientCount, "clients/disconnected": s.Sessions.Kept,
		"clients/maximum": s.Connections.Maximum, "subscriptions/count": s.Subscriptions.Total - s.Subscriptions.Shared,
		"shared_subscriptions/count": s.Subscriptions.Shared, "retained messages/count": s.Retained.Messages,
		"messages/received": s.Received.Packets, "publish/messages/received": s.Received.Messages,
		"publish/bytes/received": s.Received.PayloadBytes, "bytes/received": s.Received.Bytes,
		"publish/messages/dropped": s.Dropped.Total - s.Dropped.ByReason["no_subscribers"],
		"store/messages/count":     s.Retained.Messages + s.Queued.Messages + s.Queued.Inflight,
		"store/messages/bytes":     s.Retained.Bytes + s.Queued.Bytes, "connections/socket/count": s.Connections.Sockets,
	}
}
