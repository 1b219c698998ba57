package appliance_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// A broker has a pulse while it runs, with a store and without, and no other
// time.
func TestPulse(t *testing.T) {
	for _, stored := range []bool{false, true} {
		brokertest.NoLeaks(t)
		cfg := config(t)
		if stored {
			cfg.Storage.Directory = filepath.Join(shortDir(t), "store")
		}
		b, err := appliance.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Pulse(t.Context()); !errors.Is(err, appliance.ErrState) {
			t.Errorf("before the start: %v", err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := b.Stats()
		for range 10 {
			if err := b.Pulse(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if now := b.Stats(); now.MessageCount != before.MessageCount || now.Sent.Messages != before.Sent.Messages || now.Sessions != before.Sessions {
			t.Errorf("it shows: %+v", now)
		}
		stop(t, b)
		if err := b.Pulse(t.Context()); !errors.Is(err, appliance.ErrState) {
			t.Errorf("after the stop: %v", err)
		}
	}
}

// Whoever wants to know hears of each reload, and of what came of it, and of how
// far the recovery of what is stored is.
func TestNotices(t *testing.T) {
	brokertest.NoLeaks(t)
	cfg := config(t)
	cfg.Storage.Directory = filepath.Join(shortDir(t), "store")
	path := filepath.Join(t.TempDir(), "eb.yml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var begun int
	var ended []error
	var steps []int64
	b, err := appliance.New(cfg, appliance.WithConfigSource(func() (appliance.Config, error) {
		c, err := appliance.LoadConfig(path)
		if err != nil {
			return c, err
		}
		return cfg, nil
	}), appliance.WithReloadNotice(func() func(error) {
		begun++
		return func(err error) { ended = append(ended, err) }
	}), appliance.WithRecoveryProgress(func(done, total int64) {
		if done > total {
			t.Errorf("%d of %d", done, total)
		}
		steps = append(steps, done)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, b)
	write("sys: {}\n")
	if _, err := b.Reload(context.Background()); err != nil {
		t.Error(err)
	}
	write("nonsense: {}\n")
	if _, err := b.Reload(context.Background()); err == nil {
		t.Error("nonsense was taken")
	}
	if _, err := b.TryReload(context.Background()); err == nil {
		t.Error("nonsense was taken")
	}
	if begun != 2 || len(ended) != 2 || ended[0] != nil || ended[1] == nil {
		t.Errorf("begun %d, ended %v", begun, ended)
	}
	if len(steps) == 0 {
		t.Error("recovery was not heard of")
	}
}
