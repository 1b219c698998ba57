package appliance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// A backup that is made while messages come in holds everything that was
// acknowledged before it, and nothing of it in the wrong order or twice: a
// broker that starts on it delivers that.
func TestBackupUnderLoad(t *testing.T) {
	cfg := stored(t)
	cfg.Storage.SegmentSize = 4 * appliance.MiB
	b := start(t, cfg)
	for _, id := range []string{"first", "second"} {
		c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, id))
		c.Subscribe(2, "q/#")
		c.Disconnect()
	}
	const publishers = 3
	var acked [publishers]atomic.Int64
	stopped := make(chan struct{})
	ended := make(chan struct{}, publishers)
	for p := range publishers {
		go func() {
			defer func() { ended <- struct{}{} }()
			c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, fmt.Sprint("p", p)))
			for n := int64(1); ; n++ {
				select {
				case <-stopped:
					c.Disconnect()
					return
				default:
				}
				qos := byte(1 + p%2)
				c.Publish(fmt.Sprint("q/", p), fmt.Sprint(n, " ", strings.Repeat("x", 2000)), qos, false)
				c.Publish(fmt.Sprint("state/", p), fmt.Sprint(n), 1, true)
				acked[p].Store(n)
			}
		}()
	}
	type copied struct {
		archive []byte
		least   [publishers]int64
	}
	var copies []copied
	for round := range 3 {
		brokertest.WaitFor(t, "messages of every publisher", func() bool {
			for p := range publishers {
				if acked[p].Load() < int64(20*(round+1)) {
					return false
				}
			}
			return true
		})
		var c copied
		for p := range publishers {
			c.least[p] = acked[p].Load()
		}
		var out bytes.Buffer
		if err := b.Backup(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		c.archive = out.Bytes()
		copies = append(copies, c)
	}
	close(stopped)
	for range publishers {
		<-ended
	}
	for i, c := range copies {
		t.Run(fmt.Sprint("copy ", i), func(t *testing.T) { checkBackup(t, c.archive, c.least[:]) })
	}
}

// checkBackup starts a broker on a backup in which at least so many messages of
// each publisher must be.
func checkBackup(t *testing.T, archive []byte, least []int64) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.tar")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := store.OpenArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(dir, "data")
	if err := store.Copy(a, cfg.Storage.Directory); err != nil {
		t.Fatal(err)
	}
	b := start(t, cfg)
	if r := b.Stats().Storage.Recovered; r.Damage > 0 || r.TornBytes > 0 || r.LostMessages > 0 || r.Sessions != 2 || r.Retained != len(least) {
		t.Errorf("recovered %+v", r)
	}
	for _, id := range []string{"first", "second"} {
		_, subs := b.Client(id)
		if !subs {
			t.Fatalf("no session of %s", id)
		}
		session, _ := b.Client(id)
		c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Kept(wire.V5, id)).AutoAck()
		last := make([]int64, len(least))
		for range session.Queued.Messages {
			d := c.ExpectPublish()
			var p int
			var n int64
			if _, err := fmt.Sscanf(string(d.Topic), "q/%d", &p); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscanf(string(d.Payload), "%d ", &n); err != nil {
				t.Fatal(err)
			}
			if n != last[p]+1 {
				t.Fatalf("%s got message %d of publisher %d after %d", id, n, p, last[p])
			}
			last[p] = n
		}
		for p := range least {
			if last[p] < least[p] {
				t.Errorf("%s got %d messages of publisher %d, of which %d had been acknowledged", id, last[p], p, least[p])
			}
		}
		c.Disconnect()
	}
	c := brokertest.Dial(t, b.Addr("tcp"), brokertest.Clean(wire.V5, "r"))
	c.Subscribe(0, "state/+")
	for range least {
		d := c.ExpectPublish()
		var p int
		var n int64
		_, err := fmt.Sscanf(string(d.Topic)+" "+string(d.Payload), "state/%d %d", &p, &n)
		if err != nil || n < least[p] {
			t.Errorf("retained %s is %s, %d had been acknowledged (%v)", d.Topic, d.Payload, least[p], err)
		}
	}
}

func TestBackupRefused(t *testing.T) {
	ctx := t.Context()
	b := newBroker(t, config(t))
	if err := b.Backup(ctx, &bytes.Buffer{}); !errors.Is(err, appliance.ErrState) {
		t.Errorf("before the start: %v", err)
	}
	b = start(t, config(t))
	if err := b.Backup(ctx, &bytes.Buffer{}); !errors.Is(err, statsd.ErrNoStore) {
		t.Errorf("without a store: %v", err)
	}
	b = start(t, stored(t))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Backup(cancelled, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
