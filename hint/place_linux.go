package hint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// busySeconds in a minute in which something happens to a place are too many: to
	// look every five seconds wakes no more often.
	busySeconds = 12
	// busyEvents are too many in a minute, in however few of its seconds.
	busyEvents = 5000
	// busyFor is how long a place is left alone at which too much happens.
	busyFor = time.Hour
	// refusedFor is how long nothing is asked of the kernel that it has refused.
	refusedFor = 10 * time.Minute
)

// errRefused says that the kernel has no more to give.
var errRefused = errors.New("the kernel refuses to watch")

// place is a file or folder that the kernel watches, by one of the paths that lead to
// it. Each watch whose ways it is on is told when it is no longer one.
type place struct {
	identity
	wd int32

	minute  time.Time // when the latest minute began in which events are counted
	events  int       // in that minute
	seconds int       // of it in which there were any
	second  time.Time // when the latest of these began
}

// hold has the kernel watch what is to be watched for the ways, and no longer what
// only the ways before needed.
func (w *watch) hold(found ways) error {
	h := w.hints
	if err := h.begin(); err != nil {
		return err
	}
	for path := range found.places {
		if until, ok := h.left[path]; ok && h.now().Before(until) {
			return fmt.Errorf("%s is left alone for a while", path)
		}
		delete(h.left, path)
	}
	w.ways = found
	// Folders before what is in them: that it is replaced meanwhile is told.
	for _, path := range slices.Sorted(maps.Keys(found.places)) {
		id := found.places[path]
		if p := h.places[path]; p != nil && p.identity == id {
			continue
		}
		h.forget(path) // what else lay there
		mask := uint32(fileMask)
		if id.folder {
			mask = folderMask
		}
		wd, err := h.kernel.watch(path, mask)
		if err != nil {
			return h.refusal(path, err)
		}
		h.places[path] = &place{identity: id, wd: wd}
	}
	h.refused = time.Time{}
	h.dropUnused()
	return nil
}

// begin makes the inotify instance if there is none.
func (h *Hints) begin() error {
	switch {
	case h.closed:
		return errors.New("closed")
	case !h.refused.IsZero() && h.now().Sub(h.refused) < refusedFor:
		return errRefused
	case h.kernel != nil:
		return nil
	}
	kernel, err := h.open()
	if err != nil {
		return h.refusal("", err)
	}
	h.kernel = kernel
	h.running.Go(func() { h.receive(kernel) })
	return nil
}

// refusal notes that the kernel does not watch path, because of err.
func (h *Hints) refusal(path string, err error) error {
	if path == "" || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		if h.refused.IsZero() {
			h.log.Info("the kernel has no inotify watches left, files are looked at again and again; raise fs.inotify.max_user_watches or fs.inotify.max_user_instances",
				"error", err)
		}
		h.refused = h.now()
		return errRefused
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) { // it has just gone, or been replaced
		h.left[path] = h.now().Add(refusedFor)
	}
	return fmt.Errorf("watch %s: %w", path, err)
}

// dropUnused has the kernel no longer watch what no watch needs.
func (h *Hints) dropUnused() {
	for path := range h.places {
		if !slices.ContainsFunc(h.watches, func(w *watch) bool { _, ok := w.ways.places[path]; return ok }) {
			h.drop(path)
		}
	}
}

// drop has the kernel no longer watch the place at path.
func (h *Hints) drop(path string) {
	wd := h.places[path].wd
	delete(h.places, path)
	for _, p := range h.places {
		if p.wd == wd {
			return
		}
	}
	if h.kernel != nil {
		h.kernel.forget(wd)
	}
}

// forget drops what lies at path and below it.
func (h *Hints) forget(path string) {
	below := strings.TrimSuffix(path, "/") + "/"
	for at := range h.places {
		if at == path || strings.HasPrefix(at, below) {
			h.drop(at)
		}
	}
}

// busy counts an event, and reports whether there are too many.
func (p *place) busy(now time.Time, seconds int) bool {
	if now.Sub(p.minute) >= time.Minute {
		p.minute, p.events, p.seconds, p.second = now, 0, 0, time.Time{}
	}
	p.events++
	if now.Sub(p.second) >= time.Second {
		p.seconds++
		p.second = now
	}
	return p.seconds > seconds || p.events > busyEvents
}
