package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FindBroker returns the id of the process on this machine that listens at
// address. It is an error when there is none, or more than one, or it may not
// be seen: only the process's own user and root see its sockets.
func FindBroker(ctx context.Context, address string) (int, error) {
	inodes, err := listeners(ctx, address)
	if err != nil {
		return 0, fmt.Errorf("find the broker's process: %w", err)
	}
	pids, hidden, err := holders(inodes)
	switch {
	case err != nil:
		return 0, fmt.Errorf("find the broker's process: %w", err)
	case len(pids) == 1:
		return pids[0], nil
	case len(pids) > 1:
		return 0, fmt.Errorf("find the broker's process: %v all listen at %s; give --pid", pids, address)
	case hidden:
		return 0, fmt.Errorf("find the broker's process: it belongs to another user; run bench as root or as the broker's user, or give --pid")
	}
	return 0, fmt.Errorf("find the broker's process: none but this one listens at %s; is the broker in a container? give --pid", address)
}

// listeners are the inodes of the sockets that listen at address.
func listeners(ctx context.Context, address string) (found []string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		b, err := os.ReadFile("/proc/net/unix")
		if err != nil {
			return nil, err
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		return nonEmpty(unixListeners(b, path), address)
	}
	host, service, err := net.SplitHostPort(hostPort(address))
	if err != nil {
		return nil, fmt.Errorf("address %s has no port", address)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if !isLocal(ip.Unmap()) {
			return nil, fmt.Errorf("%s is not this machine", host)
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		found = append(found, tcpListeners(b, ips, uint16(port))...)
	}
	return nonEmpty(found, address)
}

func nonEmpty(found []string, address string) ([]string, error) {
	if len(found) == 0 {
		return nil, fmt.Errorf("nobody listens at %s", address)
	}
	return found, nil
}

// isLocal tells whether ip is one of this machine's addresses.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	own, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip
	})
}

// tcpListeners reads /proc/net/tcp or tcp6: the inodes of sockets that listen
// on port at one of ips, or at all addresses.
func tcpListeners(table []byte, ips []netip.Addr, port uint16) (inodes []string) {
	const listen = "0A"
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line)) // sl, local, remote, state, queues, timer, retries, uid, timeout, inode
		if len(f) < 10 || f[3] != listen {
			continue
		}
		at, ok := procAddrPort(f[1])
		if !ok || at.Port() != port {
			continue
		}
		if at.Addr().IsUnspecified() || slices.ContainsFunc(ips, func(ip netip.Addr) bool { return ip.Unmap() == at.Addr() }) {
			inodes = append(inodes, f[9])
		}
	}
	return inodes
}

// procAddrPort reads an address as the kernel prints it: words of 32 bits as
// they lie in memory, in hexadecimal, a colon, and the port.
func procAddrPort(s string) (netip.AddrPort, bool) {
	words, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(words)
	p, portErr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || portErr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	ip, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(p)), true
}

// unixListeners reads /proc/net/unix: the inodes of sockets that listen at path.
func unixListeners(table []byte, path string) (inodes []string) {
	const accepting = 1 << 16
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line)) // num, users, protocol, flags, type, state, inode, path
		if len(f) < 8 || f[7] != path {
			continue
		}
		if flags, err := strconv.ParseUint(f[3], 16, 64); err == nil && flags&accepting != 0 {
			inodes = append(inodes, f[6])
		}
	}
	return inodes
}

// holders are the processes that have one of the sockets open, this one and,
// if there are others, the first process of the system left out: the latter
// keeps sockets for those it starts. hidden tells that some could not be seen.
func holders(inodes []string) (pids []int, hidden bool, err error) {
	wanted := map[string]bool{}
	for _, inode := range inodes {
		wanted["socket:["+inode+"]"] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", entry.Name(), "fd")
		files, err := os.ReadDir(dir)
		hidden = hidden || errors.Is(err, fs.ErrPermission)
		if slices.ContainsFunc(files, func(f fs.DirEntry) bool {
			to, err := os.Readlink(filepath.Join(dir, f.Name()))
			return err == nil && wanted[to]
		}) {
			pids = append(pids, pid)
		}
	}
	if len(pids) > 1 {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == 1 })
	}
	return pids, hidden, nil
}
