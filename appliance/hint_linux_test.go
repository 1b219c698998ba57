package appliance

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/certs"
	"github.com/synthetism/edgebroker/hint"
	"github.com/synthetism/edgebroker/internal/brokertest"
)

// kernelWatches are the inodes that each inotify descriptor of this process watches,
// as the kernel tells.
func kernelWatches(t *testing.T) map[string]map[uint64]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[uint64]bool{}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || !strings.Contains(target, "inotify") {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = map[uint64]bool{}
		for line := range strings.Lines(string(info)) {
			var wd, inode uint64
			if _, err := fmt.Sscanf(line, "inotify wd:%x ino:%x", &wd, &inode); err == nil {
				found[e.Name()][inode] = true
			}
		}
	}
	return found
}

// TestKernelWatches: a broker has the kernel tell of all files that it looks at, by one
// descriptor, which is gone with it.
func TestKernelWatches(t *testing.T) {
	dir := t.TempDir()
	probe := hint.New(slog.New(slog.DiscardHandler))
	attend, _ := probe.Watch(func() {})
	vouched := attend([]string{dir})
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	if !vouched {
		t.Skip("nothing can be vouched for here")
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	a, err := certs.CreateAuthority(at("ca"), "plant")
	if err != nil {
		t.Fatal(err)
	}
	i, err := a.IssueServer(certs.Request{}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := at("cert"), at("key")
	if err := i.Write(certificate, key, false); err != nil {
		t.Fatal(err)
	}
	hash, err := auth.HashPassword(auth.NewSecret([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "tls", Type: ListenTLS, Address: "127.0.0.1:0", Certificate: certificate, PrivateKey: key, ClientCA: a.CertificateFile(), CRL: a.CRLFile()}}
	cfg.Access.Rules, cfg.Access.Passwords = []string{write("rules", "allow any all a\n")}, write("users", "# none\n")
	cfg.HTTP.Address, cfg.HTTP.Users = "127.0.0.1:0", write("people", "ann:"+hash+":admin\n")
	files := []string{certificate, key, a.CertificateFile(), a.CRLFile(), cfg.Access.Rules[0], cfg.Access.Passwords, cfg.HTTP.Users}

	b, err := New(cfg, WithoutControl())
	if err != nil {
		t.Fatal(err)
	}
	b.watchEvery = 20 * time.Millisecond
	before := kernelWatches(t)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	brokertest.WaitFor(t, "the kernel to watch all files", func() bool {
		watched := kernelWatches(t)
		if len(watched) > len(before)+1 {
			t.Fatalf("%d inotify descriptors for one broker", len(watched)-len(before))
		}
		for fd, inodes := range watched {
			if before[fd] != nil {
				continue
			}
			for _, path := range append(files, dir) {
				var st unix.Stat_t
				if err := unix.Stat(path, &st); err != nil {
					t.Fatal(err)
				}
				if !inodes[st.Ino] {
					return false
				}
			}
			return true
		}
		return false
	})
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if after := kernelWatches(t); len(after) > len(before) {
		t.Errorf("%d inotify descriptors, %d before the broker", len(after), len(before))
	}
}
