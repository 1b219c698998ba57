package appliance

import (
	"context"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/rest"
)

// watchInterval is how often the files of the access section are looked at, unless
// hints make that needless. A change counts when two looks in a row have seen the
// same.
const watchInterval = 5 * time.Second

// stamp is what tells a file from what it was before: where it lies, and when
// and how it was last changed, links followed. The zero stamp is a file that
// cannot be looked at.
type stamp struct {
	device, inode  uint64
	size           int64
	mode           uint32
	written, moved int64 // nanoseconds: mtime; ctime, which no program can set
}

// stampOf looks at the file at path.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	s := stamp{size: info.Size(), mode: uint32(info.Mode()), written: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(sys.Dev), uint64(sys.Ino)
		s.moved = time.Unix(sys.Ctim.Unix()).UnixNano()
	}
	return s
}

// stamps looks at every file of paths.
func stamps(paths []string) map[string]stamp {
	all := make(map[string]stamp, len(paths))
	for _, path := range paths {
		all[path] = stampOf(path)
	}
	return all
}

// watched are the files of c that are to be watched.
func (c AccessConfig) watched() []string {
	if !c.Watch {
		return nil
	}
	paths := slices.Clone(c.Rules)
	for _, key := range []string{c.Passwords, c.Tokens.KeyFile} {
		if path, err := ResolvePath(key); err == nil && path != "" {
			paths = append(paths, path)
		}
	}
	if path, err := c.HTTP.Authorization.path(); err == nil && path != "" {
		paths = append(paths, path)
	}
	return paths
}

// accessWatcher reads the files of the access section again when they change.
// How that went is logged and an event, as of any reload.
func (b *Broker) accessWatcher() *watcher {
	return &watcher{
		rest:     b.rest,
		hints:    b.hints,
		interval: b.watchEvery,
		stamps:   stamps,
		inForce: func() map[string]stamp {
			b.reloading.Lock()
			defer b.reloading.Unlock()
			return b.files.stamps
		},
		// The config file may be being edited, and what is wrong with a certificate,
		// which is watched by itself, must not keep anybody in.
		changed: func() { _, _ = b.reload(nil, accessOnly) },
	}
}

// watcher notices that files have changed which somebody has read.
type watcher struct {
	// inForce is how the files lay there just before they were read that are in
	// use now, by path. Files may join and leave it.
	inForce func() map[string]stamp
	// changed is called, by run, when the files differ from what is in force and
	// have stayed as they are for an interval. If it does not put them in force
	// it is not called again before they change once more, so that what is wrong
	// with a file is said once.
	changed func()

	rest     *rest.Rest
	hints    rest.Hinter // nil: there are none
	interval time.Duration
	stamps   func(paths []string) map[string]stamp

	seen, tried map[string]stamp
}

// run looks until ctx ends, and returns nil.
func (w *watcher) run(ctx context.Context) error {
	w.rest.Look(ctx, rest.Looks{Pace: w.interval, Paths: w.paths, Look: w.look, Hints: w.hints})
	return nil
}

// paths are those of the files that are in use now. If others are later, whatever
// makes them be has stirred.
func (w *watcher) paths() []string { return slices.Sorted(maps.Keys(w.inForce())) }

// look is one look. It reports whether what it saw has been dealt with: it is what the
// look before has seen, and is in force or has been tried.
func (w *watcher) look() (settled bool) {
	inForce := w.inForce()
	now := w.stamps(slices.Collect(maps.Keys(inForce)))
	settled = maps.Equal(now, w.seen)
	w.seen = now
	switch {
	case maps.Equal(now, inForce):
		w.tried = nil
	case settled && !maps.Equal(now, w.tried):
		w.tried = now
		w.changed()
		return false // the files that are in force now may be others
	}
	return settled
}
