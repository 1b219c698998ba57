package memory

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// LeaveCode takes the pages of the program's file out of the resident set: of
// those that starting has brought in, most are not needed again. Whichever is, is
// mapped again when it is used, from the kernel's cache at the cost of a minor
// fault for 64 KiB. Nothing is lost: only pages are given up that are as they are in
// the file and cannot be written.
func LeaveCode() error {
	file, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program's file: %w", err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("find the program's pages: %w", err)
	}
	var errs []error
	for _, m := range codeOf(string(text), file) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("give up the program's pages: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// stretch is of addresses.
type stretch struct{ start, end uintptr }

// codeOf finds where file is mapped so that it can be read and not written, in
// the text of /proc/self/smaps. It leaves out what has been written before that
// became forbidden: addresses of a program that is not linked to a fixed place.
func codeOf(text, file string) (list []stretch) {
	var at stretch
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		name, value, isValue := strings.Cut(line, ":")
		switch {
		case !isValue || strings.Contains(name, " "):
			at = mapping(line, file)
		case name == "Anonymous" && at.end > 0:
			if strings.Join(strings.Fields(value), " ") == "0 kB" {
				list = append(list, at)
			}
		case name == "Swap" && at.end > 0:
			if n := len(list); n > 0 && list[n-1] == at && strings.Join(strings.Fields(value), " ") != "0 kB" {
				list = list[:n-1]
			}
		}
	}
	return list
}

// mapping is what a line says of a mapping, zero if that is not one to give up.
func mapping(line, file string) (at stretch) {
	// start-end rwxp offset device inode   path
	f := strings.SplitN(line, " ", 6)
	if len(f) < 6 || strings.TrimLeft(f[5], " ") != file || len(f[1]) != 4 || f[1][0] != 'r' || f[1][1] == 'w' || f[1][3] != 'p' {
		return at
	}
	from, to, _ := strings.Cut(f[0], "-")
	start, err := strconv.ParseUint(from, 16, strconv.IntSize)
	end, err2 := strconv.ParseUint(to, 16, strconv.IntSize)
	if err == nil && err2 == nil && start < end {
		at = stretch{uintptr(start), uintptr(end)}
	}
	return at
}
