package statsd

import (
	"fmt"
	"math"
	"time"
)

// The words of Storage.State.
const (
	StorageNone   = "none"   // there is no data directory: state is kept in memory
	StorageOK     = "ok"     // what is acknowledged is stored
	StorageFull   = "full"   // messages that must be stored are refused until there is room
	StorageFailed = "failed" // nothing that must be stored is acknowledged until the state could be written anew
)

// Storage describes the store on disk. With State StorageNone all else is zero.
// Totals count from the start of the process.
type Storage struct {
	State      string    `json:"state"`
	Since      time.Time `json:"since,omitzero"`       // when it became State
	Reason     string    `json:"reason,omitempty"`     // why it is full or failed
	Directory  string    `json:"directory,omitempty"`  // absolute
	Durability string    `json:"durability,omitempty"` // of topics that no rule names: "fsync", "flush" or "memory"
	Age        float64   `json:"age"`                  // seconds that a broker has run on it, by the store's own clock

	Segments      int   `json:"segments"`      // files with records
	UsedBytes     int64 `json:"usedBytes"`     // of all files, spare ones included
	BudgetBytes   int64 `json:"budgetBytes"`   // what UsedBytes may grow to; 0: no limit
	ReservedBytes int64 `json:"reservedBytes"` // of BudgetBytes, put aside for writing the state anew
	HeldBytes     int64 `json:"heldBytes"`     // of messages that are stored and needed
	BacklogBytes  int64 `json:"backlogBytes"`  // recorded and not yet written

	WrittenBytes uint64 `json:"writtenBytes"` // to the files of the store
	BlockBytes   uint64 `json:"blockBytes"`   // by the whole process to the block layer; 0 if unknown

	LifetimeBytes      uint64 `json:"lifetimeBytes"`      // as WrittenBytes, ever since the store was made
	LifetimeBlockBytes uint64 `json:"lifetimeBlockBytes"` // as BlockBytes, of all processes that ran it

	Commits     uint64  `json:"commits"`     // requests to make something stable
	Batches     uint64  `json:"batches"`     // writes that they shared
	Syncs       uint64  `json:"syncs"`       // fdatasync calls
	SyncSeconds float64 `json:"syncSeconds"` // that they took together
	// SyncTimes counts syncs by duration: entry i those of less than 2^i
	// microseconds and no less than half of that, the last all that took longer.
	SyncTimes []uint64 `json:"syncTimes,omitempty"`
	SyncP50   float64  `json:"syncP50"` // seconds: half of the syncs took less; see Times
	SyncP99   float64  `json:"syncP99"` // and 99 of 100

	Checkpoints uint64 `json:"checkpoints"`
	Failures    uint64 `json:"failures"` // of the disk

	Budget    *WriteBudget     `json:"writeBudget,omitempty"` // nil: none is configured
	Recovered StorageRecovered `json:"recovered"`
}

// WriteBudget is how many bytes may be written in a day, and how many have been.
type WriteBudget struct {
	DailyBytes int64 `json:"dailyBytes"`
	UsedBytes  int64 `json:"usedBytes"` // in the day that runs
	Exceeded   bool  `json:"exceeded"`
}

// StorageRecovered is what the broker found in the store when it started.
type StorageRecovered struct {
	Seconds      float64 `json:"seconds"`      // it took
	Sessions     int     `json:"sessions"`     // read
	Retained     int     `json:"retained"`     // messages read
	TornBytes    int64   `json:"tornBytes"`    // cut off the end: written and never stable
	Damage       int     `json:"damage"`       // places that were not as they had been written
	LostRecords  int64   `json:"lostRecords"`  // to damage, at least
	LostMessages int     `json:"lostMessages"` // that could not be read
}

// Problem says in one line what is wrong with the store, "" if nothing is.
func (s Storage) Problem() string {
	switch s.State {
	case StorageFull:
		return "the store is full, messages that must be stored are refused: " + s.Reason
	case StorageFailed:
		return "the store has failed, nothing that must be stored is acknowledged: " + s.Reason
	}
	return ""
}

// Full is how much of what messages may take is taken, in percent: of the budget
// without what is reserved. It is 100 when the store is full, which it may become
// earlier, since what is deleted leaves gaps. ok is false if there is no limit.
func (s Storage) Full() (percent float64, ok bool) {
	may := s.BudgetBytes - s.ReservedBytes
	switch {
	case s.BudgetBytes <= 0:
		return 0, false
	case s.State == StorageFull || s.HeldBytes >= may:
		return 100, true
	}
	return 100 * float64(s.HeldBytes) / float64(may), true
}

// FullText says Full in words, "" if there is no limit.
func (s Storage) FullText() string {
	percent, ok := s.Full()
	if !ok {
		return ""
	}
	if s.State == StorageFull {
		return fmt.Sprintf("100%%: %s of messages, and no room for more (%s are kept free for writing the state anew)", size(s.HeldBytes), size(s.ReservedBytes))
	}
	return fmt.Sprintf("%.0f%%: %s of the %s that messages may take (%s are kept free for writing the state anew)",
		percent, size(s.HeldBytes), size(max(0, s.BudgetBytes-s.ReservedBytes)), size(s.ReservedBytes))
}

// MeanSync is how long a sync takes on average.
func (s Storage) MeanSync() time.Duration {
	if s.Syncs == 0 {
		return 0
	}
	return seconds(s.SyncSeconds / float64(s.Syncs))
}

func (s Snapshot) storageGroup() group {
	st := s.Storage
	if st.State == "" || st.State == StorageNone {
		return group{"storage", [][2]string{{"state", "none: sessions and messages are kept in memory"}}}
	}
	state := SafeText(st.State, maxText)
	if !st.Since.IsZero() {
		state += st.Since.UTC().Format(" since 2006-01-02 15:04:05 UTC")
	}
	g := group{"storage", [][2]string{{"state", state}}}
	row := func(name, format string, a ...any) {
		g.rows = append(g.rows, [2]string{name, fmt.Sprintf(format, a...)})
	}
	if st.Reason != "" {
		row("reason", "%s", SafeText(st.Reason, 0))
	}
	row("directory", "%s (%s)", SafeText(st.Directory, 0), SafeText(st.Durability, maxText))
	limit := ""
	if st.BudgetBytes > 0 {
		limit = " of " + size(st.BudgetBytes)
	}
	if full := st.FullText(); full != "" {
		row("full", "%s", full)
	}
	row("files", "%s%s (segments: %s), %s of messages", size(st.UsedBytes), limit, count(st.Segments), size(st.HeldBytes))
	block := ""
	if st.BlockBytes > 0 {
		block = fmt.Sprintf(" (%s by the process at the block layer)", size(st.BlockBytes))
	}
	row("written", "%s for %s commits%s", size(st.WrittenBytes), count(st.Commits), block)
	if b := st.Budget; b != nil {
		over := ""
		if b.Exceeded {
			over = ", exceeded"
		}
		row("today", "%s of %s%s", size(b.UsedBytes), size(b.DailyBytes), over)
	}
	row("syncs", "%s, %s on average, %s", count(st.Syncs), shortSpan(st.MeanSync()), times(st.SyncTimes).text())
	if st.BacklogBytes > 0 {
		row("not yet written", "%s", size(st.BacklogBytes))
	}
	row("checkpoints", "%s (%s failures of the disk)", count(st.Checkpoints), count(st.Failures))
	r := st.Recovered
	if r.Damage > 0 || r.LostRecords > 0 || r.LostMessages > 0 {
		row("damage at start", "%s places, %s records and %s messages lost", count(r.Damage), count(r.LostRecords), count(r.LostMessages))
	}
	return g
}

// shortSpan writes a duration below a minute with three digits.
func shortSpan(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0f us", math.Round(float64(d)/float64(time.Microsecond)))
}
