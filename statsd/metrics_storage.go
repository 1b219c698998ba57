package statsd

import "github.com/prometheus/client_golang/prometheus"

// stored wraps the samples of a metric that exists only if there is a store.
func stored(m metric) metric {
	samples := m.samples
	m.samples = func(s *Snapshot, emit func(float64, ...string)) {
		if s.Storage.State != "" && s.Storage.State != StorageNone {
			samples(s, emit)
		}
	}
	return m
}

// storageTable lists the metrics of the store, but for its histogram.
func storageTable() []metric {
	storage := func(name, help string, value func(s *Storage) int64) metric {
		return stored(gauge(name, help, func(s *Snapshot) float64 { return float64(value(&s.Storage)) }))
	}
	total := func(name, help string, value func(s *Storage) uint64) metric {
		return stored(counter(name, help, func(s *Snapshot) uint64 { return value(&s.Storage) }))
	}
	return []metric{
		{describe("journal_state", "How the store fares: 1 for the state that it is in.", "state"), prometheus.GaugeValue,
			func(s *Snapshot, emit func(float64, ...string)) {
				now := s.Storage.State
				if now == "" {
					now = StorageNone
				}
				for _, state := range []string{StorageNone, StorageOK, StorageFull, StorageFailed} {
					value := 0.0
					if state == now {
						value = 1
					}
					emit(value, state)
				}
			}},
		total("journal_written_bytes_total", "Bytes written to the files of the store.", func(s *Storage) uint64 { return s.WrittenBytes }),
		{describe("process_block_written_bytes_total", "Bytes that the process caused to be written to block devices."), prometheus.CounterValue,
			func(s *Snapshot, emit func(float64, ...string)) {
				if s.Storage.BlockBytes > 0 {
					emit(float64(s.Storage.BlockBytes))
				}
			}},
		total("journal_commits_total", "Requests to make something stable.", func(s *Storage) uint64 { return s.Commits }),
		total("journal_batches_total", "Writes that were made stable, each for one or more commits.", func(s *Storage) uint64 { return s.Batches }),
		total("journal_checkpoints_total", "Checkpoints written.", func(s *Storage) uint64 { return s.Checkpoints }),
		total("journal_failures_total", "Failures of the disk under the store.", func(s *Storage) uint64 { return s.Failures }),
		storage("journal_segments", "Files of the store that hold records.", func(s *Storage) int64 { return int64(s.Segments) }),
		storage("journal_used_bytes", "Size of all files of the store.", func(s *Storage) int64 { return s.UsedBytes }),
		storage("journal_budget_bytes", "What the files of the store may grow to; 0 is no limit.", func(s *Storage) int64 { return s.BudgetBytes }),
		storage("journal_reserved_bytes", "Part of the budget that is kept free for writing the state anew.", func(s *Storage) int64 { return s.ReservedBytes }),
		storage("journal_held_bytes", "Messages that are stored and needed.", func(s *Storage) int64 { return s.HeldBytes }),
		storage("journal_backlog_bytes", "Bytes recorded and not yet written.", func(s *Storage) int64 { return s.BacklogBytes }),
		storage("journal_damaged_places", "Places of the store found damaged at the start.", func(s *Storage) int64 { return int64(s.Recovered.Damage) }),
		storage("journal_lost_messages", "Stored messages that could not be read at the start.", func(s *Storage) int64 { return int64(s.Recovered.LostMessages) }),
	}
}
