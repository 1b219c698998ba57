package hint

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

const (
	// busySeconds in a minute in which something happens in a folder are too many: to
	// look every five seconds wakes no more often.
	busySeconds = 12
	// busyEvents are too many in a minute, in however few of its seconds.
	busyEvents = 5000
	// busyFor is how long a folder is left alone in which too much happens.
	busyFor = time.Hour
	// refusedFor is how long nothing is asked of the kernel that it has refused.
	refusedFor = 10 * time.Minute
	// sureFor is how long the ways to files are as they were if no event says otherwise.
	sureFor = 30 * time.Second
)

// Hints is one inotify instance, which exists from the first time that something is to
// be watched, and all watches that share it. Its methods, and those that Watch returns,
// may be called from any goroutine.
type Hints struct {
	log *slog.Logger
	now func() time.Time

	running sync.WaitGroup

	// asking is held while the kernel is asked for something. It comes before mu, which
	// is all that whoever receives events needs: fsnotify may wait for that with the
	// lock held that asking it takes.
	asking  sync.Mutex
	kernel  *fsnotify.Watcher // nil: there is none yet
	closed  bool
	refused time.Time // when the kernel has refused last for want of resources; zero: since then it has not

	mu      sync.Mutex // guards everything that follows
	seconds int        // see busySeconds
	places  map[string]*place
	left    map[string]time.Time // places that are left alone, until when
	watches []*watch
}

// place is a file or folder that the kernel watches.
type place struct {
	identity
	gone bool // or another one: the kernel watches what was there

	minute  time.Time // when the latest minute began in which events are counted
	events  int       // in that minute
	seconds int       // of it in which there were any
	second  time.Time // when the latest of these began
}

// watch is a set of files.
type watch struct {
	hints *Hints
	hint  func()

	// Guarded by asking:
	paths   []string
	vouched bool
	since   time.Time // when the ways were last found
	why     string    // there is no vouch, as last logged

	// Guarded by mu:
	ways  ways
	stale bool // something has happened since the ways were found
	ended bool
}

// New returns Hints that ask the kernel for nothing yet. log is told, at level debug,
// why files are not vouched for, and at level info if that is because of the kernel's
// limits.
func New(log *slog.Logger) *Hints {
	return &Hints{log: log, now: time.Now, seconds: busySeconds, places: map[string]*place{}, left: map[string]time.Time{}}
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
	h.asking.Lock()
	kernel := h.kernel
	h.kernel, h.closed = nil, true
	h.asking.Unlock()
	if kernel == nil {
		return nil
	}
	err := kernel.Close()
	h.running.Wait()
	return err
}

func (w *watch) attend(paths []string) bool {
	h := w.hints
	h.asking.Lock()
	defer h.asking.Unlock()
	h.mu.Lock()
	stale := w.stale
	w.stale = false // before the ways are found, which is what happens next
	ended := w.ended
	h.mu.Unlock()
	if ended {
		return false
	}
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

// errRefused says that the kernel has no more to give.
var errRefused = errors.New("the kernel refuses to watch")

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

// hold has the kernel watch what is to be watched for the ways, and no longer what
// only the ways before needed.
func (w *watch) hold(found ways) error {
	h := w.hints
	if err := h.begin(); err != nil {
		return err
	}
	watched := h.kernel.WatchList() // without those on a file system that was unmounted, of which nothing is said
	h.mu.Lock()
	for path := range found.places {
		if until, ok := h.left[path]; ok && h.now().Before(until) {
			h.mu.Unlock()
			return fmt.Errorf("%s is left alone for a while", path)
		}
		delete(h.left, path)
	}
	w.ways = found // before they are watched: what happens from then on is told
	var missing []string
	for path, id := range found.places {
		if p := h.places[path]; p == nil || p.gone || p.identity != id || !slices.Contains(watched, path) {
			missing = append(missing, path)
		}
	}
	h.mu.Unlock()
	h.drop(missing) // what else lay there
	for _, path := range missing {
		h.mu.Lock()
		h.places[path] = &place{identity: found.places[path]}
		h.mu.Unlock()
		if err := h.kernel.Add(path); err != nil {
			h.drop([]string{path})
			return h.refusal(path, err)
		}
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
	kernel, err := fsnotify.NewWatcher()
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
	if !errors.Is(err, unix.ENOENT) { // it has just gone
		h.mu.Lock()
		h.left[path] = h.now().Add(refusedFor)
		h.mu.Unlock()
	}
	return fmt.Errorf("watch %s: %w", path, err)
}

// release lets go of all that w has watched.
func (w *watch) release() {
	w.hints.mu.Lock()
	w.ways = ways{}
	w.hints.mu.Unlock()
	w.hints.dropUnused()
}

func (w *watch) end() {
	h := w.hints
	h.asking.Lock()
	defer h.asking.Unlock()
	h.mu.Lock()
	w.ended = true
	h.watches = slices.DeleteFunc(h.watches, func(o *watch) bool { return o == w })
	h.mu.Unlock()
	h.dropUnused()
}

// dropUnused has the kernel no longer watch what no watch needs.
func (h *Hints) dropUnused() {
	var unused []string
	h.mu.Lock()
	for path := range h.places {
		if !slices.ContainsFunc(h.watches, func(w *watch) bool { _, ok := w.ways.places[path]; return ok }) {
			unused = append(unused, path)
		}
	}
	h.mu.Unlock()
	h.drop(unused)
}

// drop has the kernel no longer watch paths, those of them that it does.
func (h *Hints) drop(paths []string) {
	for _, path := range paths {
		h.mu.Lock()
		_, ok := h.places[path]
		delete(h.places, path)
		h.mu.Unlock()
		if ok && h.kernel != nil {
			_ = h.kernel.Remove(path) // if what was there is gone, so is the watch
		}
	}
}

// receive takes what the kernel says until it is closed.
func (h *Hints) receive(kernel *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-kernel.Events:
			if !ok {
				return
			}
			h.happened(filepath.Clean(e.Name), e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename))
		case _, ok := <-kernel.Errors:
			if !ok {
				return
			}
			h.lost()
		}
	}
}

// happened is called for something that has happened to what lies at path, which is
// gone or is not.
func (h *Hints) happened(path string, gone bool) {
	h.mu.Lock()
	if p := h.places[path]; p != nil && gone {
		p.gone = true
	}
	var hints []func()
	tell := func(concerns func(*watch) bool) {
		for _, w := range h.watches {
			if concerns(w) {
				w.stale = true
				hints = append(hints, w.hint)
			}
		}
	}
	tell(func(w *watch) bool { return w.ways.names[path] })
	at := filepath.Dir(path) // from where it was told
	if h.places[at] == nil {
		at = path
	}
	if p := h.places[at]; p != nil && p.busy(h.now(), h.seconds) {
		h.left[at] = h.now().Add(busyFor)
		tell(func(w *watch) bool { _, ok := w.ways.places[at]; return ok })
	}
	h.mu.Unlock()
	for _, hint := range hints {
		hint()
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

// lost is called when events may have been lost: nothing is known of any place.
func (h *Hints) lost() {
	h.mu.Lock()
	for _, p := range h.places {
		p.gone = true
	}
	var hints []func()
	for _, w := range h.watches {
		w.stale = true
		hints = append(hints, w.hint)
	}
	h.mu.Unlock()
	for _, hint := range hints {
		hint()
	}
}
