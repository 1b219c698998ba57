package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Need skips the test unless containers can be had here: that is what EDGEBROKER_LAB
// is set for, by scripts/gateway.sh, which installs what it takes.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv("EDGEBROKER_LAB") == "" {
		t.Skip("set EDGEBROKER_LAB=1 to boot gateways, or use scripts/gateway.sh")
	}
	if os.Geteuid() != 0 {
		t.Fatal("gateways can be booted by root only")
	}
	for program, in := range map[string]string{"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("no %s here; install it: apt-get install %s", program, in)
		}
	}
}

// packages are what a root has beside the minimum.
const packages = "systemd,systemd-sysv,dbus,libpam-systemd"

// Root is the folder with a small Debian of that suite. It is made once, from the
// mirror that this machine uses, and must not change: see overlay.
func Root(t testing.TB, suite string) string {
	t.Helper()
	cache := os.Getenv("EDGEBROKER_LAB_CACHE")
	if cache == "" {
		cache = "/var/cache/edgebroker-lab"
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, suite+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, suite)
	if _, err := os.Stat(root); err == nil {
		return root
	}
	unfinished := root + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--include="+packages, suite, unfinished, mirror(t))
	if eat, err := exec.LookPath("eatmydata"); err == nil { // it need not survive a power cut
		cmd.Path, cmd.Args = eat, append([]string{eat}, cmd.Args...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a root of %s: %v\n%s", suite, err, tail(string(out), 20))
	}
	if err := os.Rename(unfinished, root); err != nil {
		t.Fatal(err)
	}
	return root
}

// mirror is where this machine gets its packages from.
func mirror(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/etc/apt/sources.list.d/*.sources", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			text, _ := os.ReadFile(file)
			for line := range strings.Lines(string(text)) {
				for _, word := range strings.Fields(line) {
					if !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Contains(word, "://") {
						return word
					}
				}
			}
		}
	}
	t.Fatal("apt's sources name no mirror of Debian")
	return ""
}

// overlay is a folder that looks like root and can be changed, until the end of the
// test. Changes lie in dir.
func overlay(t testing.TB, root, dir string) string {
	t.Helper()
	merged := filepath.Join(dir, "root")
	for _, d := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", root, dir, dir)
	if err := syscall.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatalf("mount an overlay: %v; TMPDIR must lie on a disk", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(merged, 0); err != nil {
			t.Errorf("unmount %s: %v", merged, err)
		}
	})
	return merged
}
