package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// unbundle is all that is in a bundle, by name; what is compressed within is
// there as it is and unpacked.
func unbundle(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the bundle has mode %v (%v); want 0600", info.Mode(), err)
	}
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	parts := make(map[string]string)
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		parts[h.Name] = string(body)
		if inner, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			plain, err := io.ReadAll(inner)
			if err != nil {
				t.Fatal(err)
			}
			parts[h.Name+" unpacked"] = string(plain)
		}
	}
}

// bundleParts are in every bundle of a daemon that answers.
func bundleParts() []string {
	return []string{"version.json", "config.json", "health.json", "stats.json", "metrics.prom", "balance.json", "drops.json", "clients.json",
		"log-level.json", "events.jsonl", "goroutines.txt", "heap.pprof", "store.json", "doctor.json", "README.txt"}
}

// checkBundle looks into a bundle for secrets, and for what must be there.
func checkBundle(t *testing.T, path string, secrets []string, want map[string]string) {
	t.Helper()
	parts := unbundle(t, path)
	for _, name := range bundleParts() {
		if parts["edgebroker/"+name] == "" {
			t.Errorf("the bundle has no %s", name)
		}
	}
	if parts["edgebroker/heap.pprof unpacked"] == "" {
		t.Error("the heap profile cannot be unpacked")
	}
	for name, text := range parts {
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%q is in %s: %q", s, name, text[max(0, i-100):min(len(text), i+100)])
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON", name)
		}
	}
	for name, text := range want {
		if !strings.Contains(parts["edgebroker/"+name], text) {
			t.Errorf("%q is not in %s: %.2000s", text, name, parts["edgebroker/"+name])
		}
	}
}

// TestWithoutNames: whatever an event may hold that is secret is taken out.
func TestWithoutNames(t *testing.T) {
	const secret = "s3cret"
	for _, ev := range []events.Event{
		events.New(events.Connection, "c", events.ConnectionData{ClientID: "c", Username: secret}),
		events.New(events.Disconnection, "c", events.DisconnectionData{ClientID: "c", Username: secret, Duration: time.Second}),
		events.New(events.Message, "c", events.MessageData{ClientID: "c", Topic: "t", Payload: []byte(secret)}),
		events.New("users.created", "c", json.RawMessage(`{"password":"s3cret"}`)),
	} {
		text, err := json.Marshal(withoutNames(ev))
		if err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), `"source":"c"`) {
			t.Errorf("%s: %s, %v", ev.Type, text, err)
		}
		if whole, _ := json.Marshal(ev); !strings.Contains(string(whole), secret) {
			t.Errorf("%s: the event has lost its secret: %s", ev.Type, whole)
		}
	}
}

// TestBundleOverwritesNothing, and leaves nothing half written behind.
func TestBundleOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.tar.gz")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := edgebroker(t, "debug", "bundle", "--socket", filepath.Join(dir, "none.sock"), path)
	if r.code != exitError || !strings.Contains(r.stderr, "file exists") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q now, %v", text, err)
	}
	e := &env{}
	path = filepath.Join(dir, "half.tar.gz")
	_, finish, err := e.bundleFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := finish(errors.New("no space")); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("finish: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a bundle was left: %v", err)
	}
}
