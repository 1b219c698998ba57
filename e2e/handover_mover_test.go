package e2e_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// mover is a broker that can be moved to another one, as to another process.
type mover struct {
	*broker
	cfg   appliance.Config
	moves int
}

// storing is where a broker keeps its state.
type storing string

const (
	inMemory storing = "memory"
	inFolder storing = "stored"
	inBoth   storing = "mixed" // as topics have it
)

func startMover(t *testing.T, where storing, change func(*appliance.Config)) *mover {
	t.Helper()
	m := new(mover)
	dir := t.TempDir()
	m.broker = start(t, func(c *appliance.Config) {
		if where != inMemory {
			c.Storage.Directory = filepath.Join(dir, "data")
		}
		if where == inBoth {
			for _, filter := range []string{"to/#", "+/number/0", "+/number/1", "+/number/2", "+/number/3", "+/number/4", "+/number/5", "r/1"} {
				c.Storage.Topics = append(c.Storage.Topics, appliance.TopicDurability{Filter: filter, Durability: appliance.DurabilityMemory})
			}
		}
		c.Upgrade.Spread = 0
		if change != nil {
			change(c)
		}
		m.cfg = *c
	})
	return m
}

// eachStore runs a test with and without a store.
func eachStore(t *testing.T, test func(t *testing.T, where storing)) {
	for _, where := range []storing{inMemory, inFolder, inBoth} {
		t.Run(string(where), func(t *testing.T) { test(t, where) })
	}
}

// pack hands the broker over and returns the parcel.
func (m *mover) pack(t *testing.T) *os.File {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
	defer cancel()
	var parcel *os.File
	moved, err := m.HandOver(ctx, func(f *os.File) (err error) {
		parcel, err = handover.Keep(f)
		return err
	})
	if err != nil || !moved {
		t.Fatalf("hand over: %v, %v; the log:\n%s", moved, err, m.log)
	}
	return parcel
}

// move goes on in another broker, of another configuration if change is not nil.
// between, if not nil, runs while there is none.
func (m *mover) move(t *testing.T, change func(*appliance.Config), between func()) {
	t.Helper()
	parcel := m.pack(t)
	if between != nil {
		between()
	}
	if change != nil {
		change(&m.cfg)
	}
	m.unpack(t, parcel)
}

func (m *mover) unpack(t *testing.T, parcel *os.File) {
	t.Helper()
	p, err := handover.Open(parcel)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	log := new(brokertest.Log)
	b, err := appliance.New(m.cfg, appliance.WithHandover(p),
		appliance.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	if err != nil {
		t.Fatal(err)
	}
	next := &broker{Broker: b, log: log}
	next.watchConnections(t)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopLater(t, b, log)
	if got := b.Addr("tcp"); got != m.addr && b.Addr("tcp") != "" {
		t.Errorf("listens at %s after the move, at %s before", got, m.addr)
	}
	next.addr, next.unix = m.addr, m.unix
	m.broker = next
	m.moves++
}

// watchConnections fails the test for events that moves must not cause.
func (b *broker) watchConnections(t *testing.T) {
	b.On("connection", func(e events.Event) {
		if d := e.Data.(events.ConnectionData); !strings.HasPrefix(d.ClientID, "late") {
			t.Errorf("connection event of %s", d.ClientID)
		}
	})
}

func (m *mover) balanced(t *testing.T) {
	t.Helper()
	if b := m.Balance(); !b.Balanced {
		t.Errorf("books: %+v", b)
	}
}
