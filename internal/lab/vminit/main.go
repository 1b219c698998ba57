//go:build linux

// Command vminit is the first process of an emulated machine: it loads the kernel
// modules that lie beside it, mounts the disk, and becomes the disk's own first
// process. scripts/machine.bash packs it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	err := boot()
	fmt.Fprintln(os.Stderr, "vminit: error:", err)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // a first process must not end
}

const (
	disk = "/dev/vda"
	root = "/disk"
)

func boot() error {
	for dir, kind := range map[string]string{"/dev": "devtmpfs", "/proc": "proc", "/sys": "sysfs"} {
		if err := mount(kind, dir, kind); err != nil {
			return err
		}
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := await(disk, 30*time.Second); err != nil {
		return err
	}
	if err := mount(disk, root, "ext4"); err != nil {
		return err
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(dir, filepath.Join(root, dir), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("make the disk the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return syscall.Exec("/sbin/init", []string{"/sbin/init"}, []string{"TERM=dumb"})
}

func mount(what, where, kind string) error {
	if err := os.MkdirAll(where, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(what, where, kind, 0, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", kind, where, err)
	}
	return nil
}

// loadModules loads the files that dir/order names, one a line.
func loadModules(dir string) error {
	order, err := os.Open(filepath.Join(dir, "order"))
	if err != nil {
		return err
	}
	defer order.Close()
	for names := bufio.NewScanner(order); names.Scan(); {
		f, err := os.Open(filepath.Join(dir, names.Text()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		// Some are for hardware that this machine has not.
		if err != nil && err != unix.EEXIST && err != unix.ENODEV {
			return fmt.Errorf("load %s: %w", names.Text(), err)
		}
	}
	return nil
}

// await waits until there is a file.
func await(path string, within time.Duration) error {
	for end := time.Now().Add(within); ; {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("there is no %s", path)
		}
		t := time.NewTimer(20 * time.Millisecond)
		<-t.C
	}
}
