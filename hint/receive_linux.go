package hint

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// receive takes in what the kernel tells until it is closed.
func (h *Hints) receive(k kernel) {
	buffer := make([]byte, bufferSize)
	for {
		n, err := k.Read(buffer)
		if err != nil {
			h.failed(k, err)
			return
		}
		for e := range events(buffer[:n]) {
			h.happened(e)
		}
	}
}

// happened takes in one event, and hints those whom it concerns.
func (h *Hints) happened(e event) {
	h.mu.Lock()
	var hints []func()
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		hints = h.lost()
	}
	for path, p := range h.places { // several paths may lead to one file
		if p.wd == e.wd {
			hints = append(hints, h.happenedAt(path, e)...)
		}
	}
	h.mu.Unlock()
	for _, hint := range hints {
		hint()
	}
}

// happenedAt takes in an event of the place at path, and returns the hints to be given.
func (h *Hints) happenedAt(path string, e event) (hints []func()) {
	p := h.places[path]
	if e.name == "" || e.mask&inFolder != 0 { // else it is of a file that is watched itself, or of no interest
		what := filepath.Join(path, e.name)
		hints = h.tell(func(w *watch) bool { return w.ways.names[what] })
		if e.mask&another != 0 {
			h.forget(what)
		}
	}
	if p.busy(h.now(), h.seconds) {
		h.left[path] = h.now().Add(busyFor)
		hints = append(hints, h.tell(func(w *watch) bool { _, ok := w.ways.places[path]; return ok })...)
		h.forget(path)
	}
	return hints
}

// tell notes that something has happened to the watches that it concerns, and returns
// their hints, which are to be given without the mutex.
func (h *Hints) tell(concerns func(*watch) bool) (hints []func()) {
	for _, w := range h.watches {
		if concerns(w) {
			w.stale = true
			hints = append(hints, w.hint)
		}
	}
	return hints
}

// lost is for when events may have been lost: nothing is known of any place. It returns
// the hints to be given.
func (h *Hints) lost() []func() {
	h.forget("/")
	return h.tell(func(*watch) bool { return true })
}

// failed is called when k tells no more. If it has not been closed it is given up.
func (h *Hints) failed(k kernel, err error) {
	h.mu.Lock()
	var hints []func()
	if h.kernel == k {
		h.log.Info("the kernel tells no more of files, they are looked at again and again", "error", errors.Join(err, k.Close()))
		h.kernel, h.refused = nil, h.now()
		hints = h.lost()
	}
	h.mu.Unlock()
	for _, hint := range hints {
		hint()
	}
}
