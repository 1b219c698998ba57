package statsd_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
)

// exampleStorage has a different value in every field.
func exampleStorage() statsd.Storage {
	times := make([]uint64, 24)
	times[3], times[9], times[11], times[23] = 2, 900, 97, 1
	return statsd.Storage{
		State: statsd.StorageFull, Since: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Reason: "budget of 64 bytes\x1b[2J: no room for another segment",
		Directory: "/var/lib/edgebroker", Durability: "fsync", Age: 90061.5,
		Segments: 5, UsedBytes: 40 << 20, BudgetBytes: 1 << 30, ReservedBytes: 24 << 20, HeldBytes: 3 << 20, BacklogBytes: 512,
		WrittenBytes: 123456, BlockBytes: 654321, LifetimeBytes: 7654321, LifetimeBlockBytes: 87654321,
		Commits: 4000, Batches: 900, Syncs: 1000, SyncSeconds: 1.25, SyncTimes: times, SyncP50: 0.000512, SyncP99: 0.002048,
		Checkpoints: 7, Failures: 6,
		Budget:    &statsd.WriteBudget{DailyBytes: 8 << 20, UsedBytes: 9 << 20, Exceeded: true},
		Recovered: statsd.StorageRecovered{Seconds: 0.125, Sessions: 11, Retained: 12, TornBytes: 13, Damage: 14, LostRecords: 15, LostMessages: 16},
	}
}

// samples reads the answer of a scrape: values by name with labels.
func samples(t *testing.T, text []byte) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ') // there may be blanks in a label
		name, value := line[:at], line[at+1:]
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("sample %q: %v", line, err)
		}
		out[name] = v
	}
	return out
}

// fixedBackend is a broker whose counters stand still.
type fixedBackend struct {
	*fakeBackend
	snapshot statsd.Snapshot
}

func (b *fixedBackend) Snapshot() statsd.Snapshot { return b.snapshot }

// scrapeSnapshot is what a broker with these counters answers to a scrape.
func scrapeSnapshot(t *testing.T, s statsd.Snapshot) []byte {
	t.Helper()
	fake := newFakeBackend()
	r := startBackend(t, &fixedBackend{fake, s}, fake, statsd.Options{}, nil)
	_, all := scrape(t, r)
	return all
}

func scrapeStorage(t *testing.T, st statsd.Storage) map[string]float64 {
	t.Helper()
	s := exampleSnapshot()
	s.Storage = st
	return samples(t, scrapeSnapshot(t, s))
}

func TestStorageMetricsByState(t *testing.T) {
	for _, tt := range []struct{ state, want string }{
		{"", statsd.StorageNone}, {statsd.StorageNone, statsd.StorageNone},
		{statsd.StorageOK, statsd.StorageOK}, {statsd.StorageFull, statsd.StorageFull}, {statsd.StorageFailed, statsd.StorageFailed},
	} {
		t.Run("state "+tt.state, func(t *testing.T) {
			st := exampleStorage()
			st.State = tt.state
			if tt.want == statsd.StorageNone {
				st = statsd.Storage{State: tt.state}
			}
			got := scrapeStorage(t, st)
			for _, word := range []string{statsd.StorageNone, statsd.StorageOK, statsd.StorageFull, statsd.StorageFailed} {
				value, there := got[`edgebroker_journal_state{state="`+word+`"}`]
				if on := value == 1; !there || on != (word == tt.want) {
					t.Errorf("state %s is %v (%v), want %s", word, value, there, tt.want)
				}
			}
			for _, name := range []string{"edgebroker_journal_sync_seconds_count", "edgebroker_journal_used_bytes", "edgebroker_journal_written_bytes_total"} {
				if _, there := got[name]; there == (tt.want == statsd.StorageNone) {
					t.Errorf("%s there: %v", name, there)
				}
			}
		})
	}
}

// Nothing that may be stored is 0, refusing is 100, whatever is reserved.
func TestStorageFull(t *testing.T) {
	for _, tt := range []struct {
		s    statsd.Storage
		want float64
		ok   bool
	}{
		{statsd.Storage{State: statsd.StorageOK, HeldBytes: 7}, 0, false},
		{statsd.Storage{State: statsd.StorageOK, BudgetBytes: 32, ReservedBytes: 12}, 0, true},
		{statsd.Storage{State: statsd.StorageOK, BudgetBytes: 32, ReservedBytes: 12, HeldBytes: 15}, 75, true},
		{statsd.Storage{State: statsd.StorageOK, BudgetBytes: 32, ReservedBytes: 12, HeldBytes: 21}, 100, true},
		{statsd.Storage{State: statsd.StorageFull, BudgetBytes: 32, ReservedBytes: 12, HeldBytes: 15}, 100, true},
		{statsd.Storage{State: statsd.StorageOK, BudgetBytes: 32, ReservedBytes: 32}, 100, true},
	} {
		if got, ok := tt.s.Full(); got != tt.want || ok != tt.ok || (tt.s.FullText() != "") != ok {
			t.Errorf("%+v: %v %v %q", tt.s, got, ok, tt.s.FullText())
		}
	}
}

// What a scraper makes of the histogram: cumulative counts that never fall, of
// which the last is all.
func TestSyncHistogram(t *testing.T) {
	got := scrapeStorage(t, exampleStorage())
	if n, sum := got["edgebroker_journal_sync_seconds_count"], got["edgebroker_journal_sync_seconds_sum"]; n != 1000 || sum != 1.25 {
		t.Errorf("%v syncs of %v s", n, sum)
	}
	last := -1.0
	for i := 6; i <= 22; i++ {
		bound := strconv.FormatFloat(float64(uint64(1)<<i)/1e6, 'g', -1, 64)
		n, there := got[`edgebroker_journal_sync_seconds_bucket{le="`+bound+`"}`]
		if !there || n < last {
			t.Errorf("up to %s s: %v (%v), before %v", bound, n, there, last)
		}
		last = n
		if want := map[int]float64{6: 2, 8: 2, 9: 902, 10: 902, 11: 999, 22: 999}[i]; want > 0 && n != want {
			t.Errorf("up to %s s: %v, want %v", bound, n, want)
		}
	}
}

func TestStorageTable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*statsd.Storage)
		has     []string
		without []string
	}{
		{"full, with everything", func(*statsd.Storage) {}, []string{
			"state                  full since 2026-03-04 05:06:07 UTC\n", `\x1b[2J: no room`, "/var/lib/edgebroker (fsync)\n",
			"  full                   100%: 3.0 MiB of messages, and no room for more (24 MiB are kept free for writing the state anew)\n",
			"40 MiB of 1.0 GiB (segments: 5), 3.0 MiB of messages\n", "121 KiB for 4,000 commits (639 KiB by the process at the block layer)\n",
			"today                  9.0 MiB of 8.0 MiB, exceeded\n", "1,000, 1.25 ms on average, 50% under 512 us, 99% under 2.05 ms\n",
			"damage at start        14 places, 15 records and 16 messages lost\n"}, []string{"\x1b"}},
		{"well", func(s *statsd.Storage) {
			s.State, s.Reason, s.Budget, s.BlockBytes, s.BudgetBytes, s.Recovered = statsd.StorageOK, "", nil, 0, 0, statsd.StorageRecovered{}
		}, []string{"  files                  40 MiB (segments: 5)"}, []string{"reason", "  full", "today", "block layer", "damage", " of 1"}},
		{"with room", func(s *statsd.Storage) { s.State = statsd.StorageOK }, []string{"  full                   0%: 3.0 MiB of the 1000 MiB that messages may take (24 MiB are kept free for writing the state anew)\n"}, nil},
		{"slow", func(s *statsd.Storage) { s.SyncTimes[23] = 100 }, []string{"50% under 512 us, 1% beyond 4.19 s"}, nil},
		{"none", func(s *statsd.Storage) { *s = statsd.Storage{State: statsd.StorageNone} }, []string{"state                  none: sessions"}, []string{"directory"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := exampleSnapshot()
			tt.change(&s.Storage)
			var out bytes.Buffer
			if err := s.WriteTable(&out); err != nil {
				t.Fatal(err)
			}
			_, block, _ := strings.Cut(out.String(), "\nstorage\n")
			block, _, _ = strings.Cut(block, "\n\n")
			block += "\n"
			for _, want := range tt.has {
				if !strings.Contains(block, want) {
					t.Errorf("no %q in\n%s", want, block)
				}
			}
			for _, not := range tt.without {
				if strings.Contains(block, not) {
					t.Errorf("%q in\n%s", not, block)
				}
			}
		})
	}
}

func TestStorageProblem(t *testing.T) {
	for state, want := range map[string]bool{"": false, statsd.StorageNone: false, statsd.StorageOK: false, statsd.StorageFull: true, statsd.StorageFailed: true} {
		p := statsd.Storage{State: state, Reason: "the reason"}.Problem()
		if (p != "") != want || want && !strings.Contains(p, "the reason") {
			t.Errorf("state %q: problem %q", state, p)
		}
	}
}
