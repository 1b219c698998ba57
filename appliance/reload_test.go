package appliance

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/certs"
)

// running is a broker of cfg whose configuration can be changed by the result.
func running(t *testing.T, cfg Config) (*Broker, *Config) {
	t.Helper()
	next := cfg
	b, err := New(cfg, WithoutControl(), WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		WithConfigSource(func() (Config, error) { return next, nil }))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop(t.Context()) })
	return b, &next
}

// A certificate that is being renewed, or was forgotten, keeps nobody in who is
// taken out of the files of the access section.
func TestAccessIsWatchedBesideBrokenCertificates(t *testing.T) {
	dir := t.TempDir()
	a, err := certs.CreateAuthority(dir, "plant")
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, rules := filepath.Join(dir, "s.crt"), filepath.Join(dir, "s.key"), filepath.Join(dir, "rules")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Write(cert, key, true); err != nil {
		t.Fatal(err)
	}
	write(rules, "allow any all #\n")
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "tls", Type: ListenTLS, Address: "127.0.0.1:0", Certificate: cert, PrivateKey: key}}
	cfg.Access.Rules = []string{rules}
	b, _ := running(t, cfg)
	write(cert, "no certificate\n")
	write(rules, "deny user=ann all #\nallow any all #\n")
	w := b.accessWatcher()
	for range 3 {
		w.look()
	}
	if b.files.rules != 2 {
		t.Errorf("%d rules are in force, want 2", b.files.rules)
	}
	if _, err := b.Reload(t.Context()); err == nil {
		t.Error("a reload took the broken certificate")
	}
}
