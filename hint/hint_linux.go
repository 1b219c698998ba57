package hint

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// sureFor is how long the ways to files are as they were if no event says otherwise.
const sureFor = 30 * time.Second

// Hints is one inotify instance, which exists from the first time that something is to
// be watched, and all watches that share it. Its methods, and those that Watch returns,
// may be called from any goroutine.
type Hints struct {
	log  *slog.Logger
	now  func() time.Time
	open func() (kernel, error)

	running sync.WaitGroup

	mu      sync.Mutex // guards everything that follows
	seconds int        // see busySeconds
	kernel  kernel     // nil: there is none
	closed  bool
	refused time.Time // when the kernel has refused last for want of resources; zero: since then it has not
	places  map[string]*place
	left    map[string]time.Time // places that are left alone, until when
	watches []*watch
}

// watch is a set of files.
type watch struct {
	hints *Hints
	hint  func()

	// Guarded by the mutex of hints:
	paths   []string
	vouched bool
	since   time.Time // when the ways were last found
	why     string    // there is no vouch, as last logged
	ways    ways
	stale   bool // something has happened since the ways were found
	ended   bool
}

// New returns Hints that ask the kernel for nothing yet. log is told, at level debug,
// why files are not vouched for, and at level info if that is because of the kernel's
// limits.
func New(log *slog.Logger) *Hints {
	return &Hints{log: log, now: time.Now, open: openInotify, seconds: busySeconds, places: map[string]*place{}, left: map[string]time.Time{}}
}

// Watch makes a watch over no files. attend replaces those that it is over, and reports
// whether it vouches for all of them: that hint is called when something happens to any
// after attend has returned. A vouch holds until the next hint; then call attend again,
// and look at the files after that. hint may be called too often, also without a vouch,
// and must not call back. end ends the watch; a hint that is under way may still come.
func (h *Hints) Watch(hint func()) (attend func(paths []string) (vouched bool), end func()) {
	w := &watch{hints: h, hint: hint}
	h.mu.Lock()
	h.watches = append(h.watches, w)
	h.mu.Unlock()
	return w.attend, w.end
}

// Close ends what has been begun, and waits for it. Nothing is vouched for any more.
func (h *Hints) Close() error {
	h.mu.Lock()
	kernel := h.kernel
	h.kernel, h.closed = nil, true
	h.mu.Unlock()
	var err error
	if kernel != nil {
		err = kernel.Close()
	}
	h.running.Wait()
	return err
}

func (w *watch) attend(paths []string) bool {
	h := w.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.ended {
		return false
	}
	stale := w.stale
	w.stale = false // what happens from here on is taken in when this is done
	if w.vouched && !stale && slices.Equal(paths, w.paths) && h.now().Sub(w.since) < sureFor {
		return true
	}
	w.paths, w.since = slices.Clone(paths), h.now()
	err := w.renew()
	if w.vouched = err == nil; err != nil {
		w.release()
	}
	w.say(err)
	return w.vouched
}

// say logs once why files are not vouched for.
func (w *watch) say(err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	if why != "" && why != w.why && !errors.Is(err, errRefused) { // which has been said
		w.hints.log.Debug("files are looked at again and again", "reason", why)
	}
	w.why = why
}

// errMoving says that the ways have changed while they were found.
var errMoving = errors.New("something changes all the time")

// renew finds the ways and has them watched. Only what was found again once it was
// watched is vouched for.
func (w *watch) renew() error {
	if len(w.paths) == 0 {
		w.release()
		return nil
	}
	found, err := waysTo(w.paths)
	for range 3 {
		if err != nil {
			return err
		}
		if err := w.hold(found); err != nil {
			return err
		}
		var again ways
		if again, err = waysTo(w.paths); err == nil && maps.Equal(again.places, found.places) && maps.Equal(again.names, found.names) {
			return nil
		}
		found = again
	}
	return errMoving
}

// release lets go of all that w has watched.
func (w *watch) release() {
	w.ways = ways{}
	w.hints.dropUnused()
}

func (w *watch) end() {
	h := w.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	w.ended = true
	h.watches = slices.DeleteFunc(h.watches, func(o *watch) bool { return o == w })
	h.dropUnused()
}
