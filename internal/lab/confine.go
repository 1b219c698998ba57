package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// network makes a network of its own for a container, and returns the address
// that it has there. Two machines on it: this one and the container.
func network(t testing.TB, name string, n int) (address string) {
	t.Helper()
	at := 4 * (os.Getpid()%1000*16 + n%16)
	prefix := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", 213+(at>>16), at>>8&255, at&255+i) }
	outside := fmt.Sprintf("eb%x", at)
	ip := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	t.Cleanup(func() { // the link goes with its other end
		if err := ip("netns", "delete", name); err != nil {
			t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"netns", "add", name},
		{"link", "add", outside, "type", "veth", "peer", "name", "host0", "netns", name},
		{"address", "add", prefix(1) + "/30", "dev", outside},
		{"link", "set", outside, "up"},
		{"-n", name, "address", "add", prefix(2) + "/30", "dev", "host0"},
		{"-n", name, "link", "set", "host0", "up"},
		{"-n", name, "link", "set", "lo", "up"},
	} {
		if err := ip(args...); err != nil {
			t.Fatal(err)
		}
	}
	return prefix(2)
}

// confine puts what cmd starts into control groups of its own.
func confine(t testing.TB, cmd *exec.Cmd, name string, o Options) {
	t.Helper()
	var groups []string
	for _, kind := range []string{"systemd", "unified", "memory", "cpu", ""} {
		parent := filepath.Join("/sys/fs/cgroup", kind)
		if _, err := os.Stat(filepath.Join(parent, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(parent, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeGroups(t, group) })
		groups = append(groups, group)
	}
	limit := func(file string, value int64) bool {
		for _, g := range groups {
			if err := os.WriteFile(filepath.Join(g, file), fmt.Append(nil, value), 0o600); err == nil {
				return true
			} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
				t.Fatal(err)
			}
		}
		return false
	}
	if o.Memory > 0 && !limit("memory.limit_in_bytes", o.Memory) && !limit("memory.max", o.Memory) {
		t.Fatal("the memory of a container cannot be limited here")
	}
	if o.CPU > 0 && (!limit("cpu.cfs_period_us", 20_000) || !limit("cpu.cfs_quota_us", int64(o.CPU)*200)) {
		t.Fatal("the processor of a container cannot be limited here")
	}
	// A process joins them, and then becomes what was to be started.
	join := ""
	for _, g := range groups {
		join += "echo $$ >" + g + "/cgroup.procs && "
	}
	cmd.Args = append([]string{"sh", "-c", join + `exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = shell
}

// removeGroups removes a control group and those below it. They are empty when the
// container has ended.
func removeGroups(t testing.TB, group string) {
	var all []string
	_ = filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for i := len(all) - 1; i >= 0; i-- {
		var err error
		for range 100 { // the kernel lets go of the last process a little later
			if err = os.Remove(all[i]); err == nil || errors.Is(err, os.ErrNotExist) {
				err = nil
				break
			}
			pause()
		}
		if err != nil {
			t.Error(err)
		}
	}
}
