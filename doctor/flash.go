package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// wear is what a flash chip says of its own life.
type wear struct {
	disk    string // mmcblk0
	used    int    // percent of its life at most, 0 if it does not say; above 100: all of it
	reserve int    // of its spare blocks: 1 normal, 2 little is left, 3 next to nothing is left, 0 if it does not say
}

// wears are those of the disks on which the data directory lies, as far as the
// kernel tells without being asked for more than files: it does of eMMC.
func (p *Patient) wears() (list []wear) {
	dir := p.dataDirectory()
	if dir == "" {
		return nil
	}
	for _, name := range p.Host.disks(existing(dir)) {
		w := wear{disk: name}
		for _, estimate := range strings.Fields(p.Host.read("sys/block/" + name + "/device/life_time")) {
			// 0x01 is up to 10 percent, 0x0b all of it, for either kind of its memory.
			if n, err := strconv.ParseUint(estimate, 0, 8); err == nil && n <= 0x0b {
				w.used = max(w.used, 10*int(n))
			}
		}
		if n, err := strconv.ParseUint(p.Host.read("sys/block/"+name+"/device/pre_eol_info"), 0, 8); err == nil && n <= 3 {
			w.reserve = int(n)
		}
		if w.used > 0 || w.reserve > 0 {
			list = append(list, w)
		}
	}
	return list
}

func flashFine(p *Patient) string {
	var said []string
	for _, w := range p.wears() {
		if w.used > 0 {
			said = append(said, fmt.Sprintf("%s has used %d%% of its life at most", w.disk, w.used))
		}
	}
	switch {
	case len(said) > 0:
		return strings.Join(said, ", ")
	case p.dataDirectory() == "":
		return "nothing is written to flash"
	}
	return "the kernel does not tell how worn the disk is"
}

func (x *examination) flash() {
	const plan = "plan to replace it; `edgebroker store info` says how much is written, and a backup (`edgebroker backup`) should be elsewhere"
	for _, w := range x.wears() {
		where := w.disk
		switch {
		case w.reserve >= 3:
			x.problem(where, "the flash has next to no spare blocks left: it may become read-only any day", "copy the state now (`edgebroker backup`), and replace the device")
		case w.used > 100:
			x.problem(where, "the flash is older than it was made for", "copy the state now (`edgebroker backup`), and replace the device")
		case w.reserve == 2:
			x.warn(where, "the flash has used 80% of its spare blocks", plan)
		case w.used >= 80:
			x.warn(where, fmt.Sprintf("the flash has used up to %d%% of its life", w.used), plan)
		}
	}
	for _, name := range x.Host.disks(existing(x.dataDirectory())) {
		if x.Host.read("sys/block/"+name+"/ro") == "1" {
			x.problem(name, "the disk is write-protected: the kernel, or a switch on the card, does not let anybody write", "see dmesg; a card that protects itself is at its end: copy what is on it")
		}
	}
	for _, name := range x.Host.devices(existing(x.dataDirectory())) {
		if n := x.Host.number("sys/fs/ext4/" + name + "/errors_count"); n > 0 {
			x.problem(name, fmt.Sprintf("the file system has met %d errors since it was checked", n), "run fsck on it when it is not mounted, and see dmesg: the disk may be failing")
		}
	}
}

// read is the text of a file below Root, empty if there is none.
func (h *Host) read(name string) string {
	if h.Root == nil {
		return ""
	}
	b, err := fs.ReadFile(h.Root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number is the number that a file below Root begins with, -1 if there is none.
func (h *Host) number(name string) int64 {
	first, _, _ := strings.Cut(strings.Join(strings.Fields(h.read(name)), " "), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (h *Host) exists(name string) bool {
	if h.Root == nil {
		return false
	}
	_, err := fs.Stat(h.Root, name)
	return err == nil
}

// names are those in a folder below Root.
func (h *Host) names(dir string) (out []string) {
	if h.Root == nil {
		return nil
	}
	list, _ := fs.ReadDir(h.Root, dir)
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// devices are the names of what a path that exists lies on, partitions such as
// mmcblk0p2, and what these lie on in turn if they are made of others, as with
// LVM and encryption.
func (h *Host) devices(at string) (out []string) {
	if at == "" {
		return nil
	}
	d, err := h.Disk(at)
	if err != nil {
		return nil
	}
	name := ""
	for line := range strings.Lines(h.read(fmt.Sprintf("sys/dev/block/%d:%d/uevent", d.Major, d.Minor))) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			name = v
		}
	}
	if name == "" { // such as of btrfs, whose numbers are no device's
		if name = h.source(at); name == "" {
			return nil
		}
	}
	for todo := []string{path.Base(name)}; len(todo) > 0 && len(out) < 32; {
		name, todo = todo[0], todo[1:]
		if slices.Contains(out, name) {
			continue
		}
		out = append(out, name)
		todo = append(todo, h.names("sys/block/"+name+"/slaves")...)
	}
	return out
}

// disks are the whole disks among what a path lies on.
func (h *Host) disks(at string) (out []string) {
	for _, name := range h.devices(at) {
		disk := name
		if !h.exists("sys/block/" + name) {
			disk = ""
			for _, b := range h.names("sys/block") {
				if h.exists("sys/block/" + b + "/" + name) {
					disk = b
				}
			}
		}
		if disk != "" && !slices.Contains(out, disk) {
			out = append(out, disk)
		}
	}
	return out
}

// source is the device from which the file system of a path is mounted, empty
// if that is none.
func (h *Host) source(at string) string {
	best, device := -1, ""
	for line := range strings.Lines(h.read("proc/self/mountinfo")) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 2 {
			continue
		}
		point := strings.ReplaceAll(f[4], `\040`, " ")
		if at != point && !strings.HasPrefix(at, strings.TrimSuffix(point, "/")+"/") || len(point) < best {
			continue
		}
		best, device = len(point), ""
		if name, ok := strings.CutPrefix(g[1], "/dev/"); ok {
			device = path.Base(name)
		}
	}
	return device
}
