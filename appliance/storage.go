package appliance

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
)

// ErrStorage is wrapped by Start's error when the storage directory cannot be
// used.
var ErrStorage = errors.New("storage cannot be used")

// persistent reports whether anything at all is to be stored.
func (s StorageConfig) persistent() bool {
	if s.Directory == "" {
		return false
	}
	for _, t := range s.Topics {
		if t.Durability != DurabilityMemory {
			return true
		}
	}
	return s.Durability != DurabilityMemory
}

var relayLevels = map[Durability]relay.Level{
	DurabilityMemory: relay.Memory, DurabilityFlush: relay.Flush, DurabilityFsync: relay.Sync,
}

// WithRecoveryProgress has progress called again and again while Start reads what
// is stored, with how many bytes it has gone through of how many: as often as it
// is called, Start gets on. It must not block.
func WithRecoveryProgress(progress func(done, total int64)) Option {
	return func(b *Broker) { b.recovering = progress }
}

// openStore opens the store, if there is to be one, and returns what it has
// kept.
func (b *Broker) openStore() (relay.Recovered, error) {
	c := b.conf().Storage
	if !c.persistent() {
		return relay.Recovered{}, nil
	}
	disk, err := journal.Dir(c.Directory)
	if err != nil {
		return relay.Recovered{}, storageError(c.Directory, err)
	}
	opts := store.Options{
		Disk: disk, Level: relayLevels[c.Durability], FlushInterval: c.FlushInterval, MaxDelay: c.MaxCommitDelay,
		MaxBytes: int64(c.MaxBytes), SegmentSize: int64(c.SegmentSize),
		Log: b.log.With("component", "store"), OnState: b.storeChanged,
		MaxBacklog: b.bounds.backlog, DailyBudget: uint64(c.DailyWriteBudget), OnBudget: b.budgetExceeded, BlockBytes: blockBytes,
		OnRecovery: b.recovering, Rest: b.rest,
	}
	for _, t := range c.Topics {
		opts.Rules = append(opts.Rules, store.Rule{Filter: t.Filter, Level: relayLevels[t.Durability]})
	}
	s, rec, report, err := store.Open(opts)
	if err != nil {
		return relay.Recovered{}, storageError(c.Directory, err)
	}
	b.store, b.recovery = s, report
	b.reportRecovery(report)
	return rec, nil
}

func storageError(directory string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, journal.ErrLocked):
		hint = "; is another edgebroker running on it? stop that one or give this one a folder of its own"
	case errors.Is(err, fs.ErrPermission):
		hint = "; the user that runs edgebroker must own it"
	case errors.Is(err, fs.ErrNotExist):
		hint = "; make the folder above it first"
	}
	return fmt.Errorf("%w: %s: %w%s", ErrStorage, directory, err, hint)
}

// reportRecovery says what was found on the disk, and loudly what was not.
func (b *Broker) reportRecovery(r *store.Report) {
	log := b.log.With("component", "store", "directory", b.conf().Storage.Directory)
	log.Info("state recovered", "sessions", r.Sessions, "retained", r.Retained, "records", r.Records, "dur", r.Took)
	for _, d := range r.Damage {
		log.Error("the store was damaged; what could be read was kept", "damage", fmt.Sprint(d), "aside", r.Aside)
		b.system(events.SystemStorageDamaged, fmt.Sprint(d))
	}
	if r.Unread > 0 || r.Lost > 0 {
		log.Error("stored state is lost", "messages", r.Unread, "records", r.Lost)
		b.system(events.SystemStorageLost, fmt.Sprintf("%d messages, at least %d records", r.Unread, r.Lost))
	}
}

// storeChanged tells the world that the store takes messages, or does not.
func (b *Broker) storeChanged(state journal.State, err error) {
	log := b.log.With("component", "store")
	what, detail := events.SystemStorageOK, ""
	if err != nil {
		detail = err.Error()
	}
	switch state {
	case journal.OK:
		log.Info("the store takes messages again")
	case journal.Full:
		what = events.SystemStorageFull
		log.Warn("the store is full: messages at QoS 1 and 2 for kept sessions, and retained ones, are refused until there is room", "error", err)
	case journal.Failed:
		what = events.SystemStorageFailed
		log.Error("the disk has failed: nothing is acknowledged until what is in memory could be written anew", "error", err)
	}
	b.system(what, detail)
}

// closeStore writes what is there.
func (b *Broker) closeStore() error {
	if b.store == nil {
		return nil
	}
	return b.store.Close()
}
