package appliance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

func sinkStats(b *appliance.Broker, name string) statsd.EventSink {
	list := b.Stats().Sinks
	return list[slices.IndexFunc(list, func(s statsd.EventSink) bool { return s.Name == name })]
}

// Two MQTT sinks that want everything do not feed each other nor themselves, and
// what one publishes is one event on one topic, whatever the client is called.
func TestMQTTSinks(t *testing.T) {
	cfg := config(t)
	cfg.Sys.Interval = 0
	cfg.Events.Sinks = []appliance.SinkConfig{
		{Name: "a", Type: appliance.SinkMQTT, Types: []string{"*"}, Payloads: true},
		{Name: "b", Type: appliance.SinkMQTT, Types: []string{"message", "drop"}, QoS: 1},
	}
	b := start(t, cfg)
	pub := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "pump/7"))
	idle := func() bool { return sinkStats(b, "a").Waiting+sinkStats(b, "b").Waiting == 0 }
	pub.Publish("unheard", "x", 1, false) // nobody listens yet: nothing is published
	brokertest.WaitFor(t, "both sinks to have seen that", idle)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c")).AutoAck()
	c.Subscribe(1, "$events/message/#")
	pub.Publish("t", "payload", 1, false)
	qos := map[byte]string{}
	for range 2 {
		d := c.ExpectPublish()
		var e events.Event
		if err := json.Unmarshal(d.Payload, &e); err != nil {
			t.Fatal(err)
		}
		m := e.Data.(events.MessageData)
		if string(d.Topic) != "$events/message/pump%2F7" || d.Retain || m.Topic != "t" || m.Size != 7 {
			t.Errorf("%s %s", d.Topic, d.Payload)
		}
		qos[d.QoS] = string(m.Payload)
	}
	if qos[0] != "payload" || qos[1] != "" || len(qos) != 2 {
		t.Errorf("%v", qos)
	}
	brokertest.WaitFor(t, "the end of it", idle)
	before := b.Stats().MessageCount
	c.ExpectNothing()
	if after := b.Stats().MessageCount; after != before {
		t.Errorf("%d messages became %d by themselves", before, after)
	}
}

// A file gets what happens, and a reload begins anew where somebody has moved it
// away.
func TestFileSink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	cfg := config(t)
	cfg.Events.Sinks = []appliance.SinkConfig{{Name: "f", Type: appliance.SinkFile, Path: path, Client: "pump-*"}}
	b := start(t, cfg)
	for i, id := range []string{"pump-1", "fan-1", "pump-2"} {
		brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, id))
		if i == 1 {
			brokertest.WaitFor(t, "a line", func() bool { return sinkStats(b, "f").Sent == 1 })
			if err := os.Rename(path, path+".moved"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	brokertest.WaitFor(t, "another line", func() bool { return sinkStats(b, "f").Sent == 2 })
	for p, id := range map[string]string{path + ".moved": "pump-1", path: "pump-2"} {
		text, err := os.ReadFile(p)
		if err != nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), `"clientId":"`+id+`"`) {
			t.Errorf("%s: %s, %v", p, text, err)
		}
	}
}

// Events that a web server did not take come after a restart of the broker, each
// of them; meanwhile a server that stalls costs clients nothing.
func TestWebhookSinkRestart(t *testing.T) {
	var mu sync.Mutex
	var up bool
	seen := map[string]bool{} // topics
	gone := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		answers := up
		mu.Unlock()
		if !answers {
			<-gone
			return
		}
		var batch []struct{ Data events.MessageData }
		if err != nil || json.Unmarshal(body, &batch) != nil {
			w.WriteHeader(400)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range batch {
			seen[e.Data.Topic] = true
		}
	}))
	t.Cleanup(s.Close)
	end := sync.OnceFunc(func() { close(gone) })
	t.Cleanup(end)
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(t.TempDir(), "data")
	cfg.Events.Sinks = []appliance.SinkConfig{{Name: "hook", Type: appliance.SinkWebhook, Types: []string{"message"}, URL: s.URL, BatchTime: 10 * time.Millisecond}}
	const n = 500
	b := start(t, cfg)
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "c"))
	for i := range n {
		c.Publish(fmt.Sprintf("t/%d", i), "x", 1, false)
	}
	c.Disconnect()
	stop(t, b) // does not wait for the server
	end()
	mu.Lock()
	up = true
	mu.Unlock()
	b = start(t, cfg)
	brokertest.WaitFor(t, "all events", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == n })
	brokertest.WaitFor(t, "the books to be closed", func() bool { s := sinkStats(b, "hook"); return s.Sent == n && s.Waiting == 0 && s.Dropped == 0 })
}

// A start that fails ends the sinks, too, and does not wait for one of them.
func TestSinksOfFailedStart(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	cfg.Listeners = append(cfg.Listeners, appliance.ListenerConfig{Name: "taken", Type: appliance.ListenUnix, Address: filepath.Join(t.TempDir(), "none", "x")})
	cfg.Events.Sinks = []appliance.SinkConfig{
		{Name: "m", Type: appliance.SinkMQTT, Types: []string{"*"}},
		{Name: "h", Type: appliance.SinkWebhook, URL: "http://127.0.0.1:1/"},
	}
	b := newBroker(t, cfg)
	if err := b.Start(t.Context()); err == nil {
		t.Fatal("it has started")
	}
}
