package appliance

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"time"

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
		Directory: b.cfg.Storage.Directory, Durability: string(b.cfg.Storage.Durability), Age: st.Clock.Seconds(),
		Segments: st.Segments, UsedBytes: st.UsedBytes, BudgetBytes: st.BudgetBytes, HeldBytes: st.HeldBytes, BacklogBytes: st.Backlog,
		WrittenBytes: st.WrittenBytes, BlockBytes: blockBytes(),
		Commits: st.Commits, Batches: st.Batches, Syncs: st.Syncs, SyncSeconds: st.SyncTime.Seconds(), SyncTimes: st.SyncTimes[:],
		Checkpoints: st.Checkpoints, Failures: st.Failures,
		Recovered: recoveredStats(b.recovery),
	}
	if st.Err != nil {
		out.Reason = st.Err.Error()
	}
	return out
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
