package appliance

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/store"
)

// storageStats describes the store. b.store must not change meanwhile.
func (b *Broker) storageStats() statsd.Storage {
	if b.store == nil {
		return statsd.Storage{State: statsd.StorageNone}
	}
	st := b.store.Journal().Stats()
	out := statsd.Storage{
		State: stateWord(st.State), Since: today(st.Since),
		Directory: b.conf().Storage.Directory, Durability: string(b.conf().Storage.Durability), Age: st.Clock.Seconds(),
		Segments: st.Segments, UsedBytes: st.UsedBytes, BudgetBytes: st.BudgetBytes, ReservedBytes: st.Reserved, HeldBytes: st.HeldBytes, BacklogBytes: st.Backlog,
		WrittenBytes: st.WrittenBytes, BlockBytes: blockBytes(),
		Commits: st.Commits, Batches: st.Batches, Syncs: st.Syncs, SyncSeconds: st.SyncTime.Seconds(), SyncTimes: st.SyncTimes[:],
		SyncP50: statsd.Percentile(st.SyncTimes[:], 50), SyncP99: statsd.Percentile(st.SyncTimes[:], 99),
		Checkpoints: st.Checkpoints, Failures: st.Failures,
		Recovered: recoveredStats(b.recovery),
	}
	if st.Err != nil {
		out.Reason = strings.ReplaceAll(st.Err.Error(), "\n", "; ")
	}
	w := b.store.Wear()
	out.LifetimeBytes, out.LifetimeBlockBytes = w.Written, w.Block
	if daily := b.conf().Storage.DailyWriteBudget; daily > 0 {
		out.Budget = &statsd.WriteBudget{DailyBytes: int64(daily), UsedBytes: int64(w.Today()), Exceeded: w.Today() > uint64(daily)}
	}
	return out
}

// budgetExceeded tells the world that more has been written in this day of the
// store's clock than storage.daily_write_budget. Nothing is refused for it.
func (b *Broker) budgetExceeded(used, daily uint64, window time.Duration) {
	what := fmt.Sprintf("%s of %s", humanize.IBytes(used), humanize.IBytes(daily))
	b.log.Warn("the bytes that may be written in a day are used up: flush messages wait longer to be written, fsync messages are written as ever",
		"component", "store", "written", what, "flush_interval", window)
	b.system(events.SystemWriteBudget, what+" written")
}

func recoveredStats(r *store.Report) statsd.StorageRecovered {
	return statsd.StorageRecovered{Seconds: r.Took.Seconds(), Sessions: r.Sessions, Retained: r.Retained,
		TornBytes: r.Torn.Bytes, Damage: len(r.Damage), LostRecords: r.Lost, LostMessages: r.Unread}
}

func stateWord(s journal.State) string {
	switch s {
	case journal.Full:
		return statsd.StorageFull
	case journal.Failed:
		return statsd.StorageFailed
	}
	return statsd.StorageOK
}

// today is t by the clock as it is set now.
func today(t time.Time) time.Time {
	now := time.Now()
	return now.Add(-now.Sub(t)).Round(0).UTC()
}

// blockBytes is how many bytes this process has caused to be sent to the block
// layer, 0 where the system does not tell. See proc_pid_io(5).
func blockBytes() uint64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	return parseBlockBytes(text)
}

func parseBlockBytes(text []byte) uint64 {
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		if value, ok := bytes.CutPrefix(in.Bytes(), []byte("write_bytes:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
