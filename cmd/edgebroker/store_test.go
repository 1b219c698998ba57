package main

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/statsd"
)

// emptyStore makes a store without anything in it.
func emptyStore(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	disk, err := journal.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, _, err := journal.Open(journal.Options{Disk: disk, SegmentSize: 64 << 10}, func(journal.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A store that a later program has written is told apart from a damaged one.
func TestStoreOfANewerVersion(t *testing.T) {
	dir := emptyStore(t)
	wantCode(t, edgebroker(t, "store", "verify", "--data", dir), exitOK)
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(b[8:], 77)
		binary.LittleEndian.PutUint32(b[508:], crc32.Checksum(b[:508], crc32.MakeTable(crc32.Castagnoli)))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"verify", "info", "dump"} {
		r := edgebroker(t, "store", command, "--data", dir)
		wantCode(t, r, exitUsage)
		if !strings.Contains(r.stderr, "has format version 77") || !strings.Contains(r.stderr, "use a newer program") || r.stdout != "" {
			t.Errorf("%s says %q, %q", command, r.stdout, r.stderr)
		}
	}
}

func TestFindHolder(t *testing.T) {
	dir := emptyStore(t)
	if h := findHolder(dir); h.held {
		t.Errorf("a closed store is held by %v", h)
	}
	if h := findHolder(filepath.Join(dir, "none")); h.held {
		t.Errorf("a store that is not there is held by %v", h)
	}
	disk, err := journal.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Lock(); err != nil {
		t.Fatal(err)
	}
	if h := findHolder(dir); !h.held || h.pid != os.Getpid() {
		t.Errorf("an open store is held by %+v, want pid %d", h, os.Getpid())
	}
	if err := disk.Unlock(); err != nil {
		t.Fatal(err)
	}
	if h := findHolder(dir); h.held {
		t.Errorf("an unlocked store is held by %v", h)
	}
}

func TestParseLocks(t *testing.T) {
	const text = `1: POSIX  ADVISORY  READ 5433 08:01:7864448 128 128
2: FLOCK  ADVISORY  WRITE 2001 08:01:7864554 0 EOF
2: -> FLOCK  ADVISORY  WRITE 2002 08:01:99 0 EOF
3: FLOCK  ADVISORY  WRITE -1 00:2f:12 0 EOF
4: FLOCK  ADVISORY  WRITE x
5: FLOCK  ADVISORY  WRITE 9 no-colon 0 EOF
`
	for inode, want := range map[uint64]lockHolder{
		7864554: {true, 2001}, 12: {true, 0}, 7864448: {}, 99: {}, 1: {}, 54: {},
	} {
		if got := parseLocks([]byte(text), inode); got != want {
			t.Errorf("inode %d: %+v, want %+v", inode, got, want)
		}
	}
}

func TestStoreEstimate(t *testing.T) {
	day := (24 * time.Hour).Seconds()
	for _, tt := range []struct {
		name      string
		info      storeInfo
		endurance uint64
		lifeDays  float64
		says      string
	}{
		{"files only", storeInfo{Age: 10 * day, WrittenBytes: 100e6}, 1e9, 100, "1.0 GB last 100.0 days at 10 MB a day"},
		{"the block layer counts", storeInfo{Age: 10 * day, WrittenBytes: 100e6, BlockBytes: 1000e6}, 1e12, 10000, "1.0 TB last 27.4 years at 100 MB a day"},
		{"for ever", storeInfo{Age: day, WrittenBytes: 1000}, 30e12, 30e9, "30 TB last more than 1,000 years at 1.0 kB a day"},
		{"nothing written", storeInfo{Age: day}, 1e12, 0, "nothing has been written"},
		{"too young", storeInfo{Age: 59, WrittenBytes: 1e9}, 1e12, 0, "too early to tell: the store has run for less than 1m00s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := tt.info
			i.estimate(tt.endurance)
			if math.Abs(i.LifeDays-tt.lifeDays) > 1e-6*tt.lifeDays || i.lifeWords() != tt.says {
				t.Errorf("%v days, %q", i.LifeDays, i.lifeWords())
			}
		})
	}
}

// What a broker tells of its store, in a table and as JSON.
func TestStoreInfoOfADaemon(t *testing.T) {
	f := newFakeBroker()
	f.snapshot.Sessions = statsd.Sessions{Total: 10, Connected: 4, Kept: 6}
	f.snapshot.Queued = statsd.Queued{Messages: 7, Inflight: 3}
	f.snapshot.Storage = statsd.Storage{State: statsd.StorageFull, Reason: "no room\x1b[2J", Directory: "/var/lib/x", Age: 86400 * 2,
		Segments: 3, UsedBytes: 24 << 20, BudgetBytes: 1 << 30, ReservedBytes: 24 << 20, HeldBytes: 3 << 20, LifetimeBytes: 20e6, LifetimeBlockBytes: 40e6,
		Budget: &statsd.WriteBudget{DailyBytes: 10 << 20, UsedBytes: 5 << 20}, Recovered: statsd.StorageRecovered{Damage: 2}}
	socket := serveFake(t, f)
	r := edgebroker(t, "store", "info", "--socket", socket, "--endurance", "1TB")
	wantCode(t, r, exitOK)
	for _, want := range []string{"full, no room\\x1b[2J\n", "2d0h of running\n", "10 (4 connected)", "10 messages\n", "24 MiB of 1.0 GiB, 3 segments\n", " 100%: 3.0 MiB of messages, and no room for more (24 MiB are kept free",
		"2 places; ", "19 MiB ever, 10 MB a day\n", "38 MiB ever, 20 MB a day\n", "5.0 MiB of 10 MiB\n", "1.0 TB last 136.9 years at 20 MB a day\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	r = edgebroker(t, "store", "info", "--socket", socket, "-o", "json")
	wantCode(t, r, exitOK)
	var got map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"directory": "/var/lib/x", "state": "full", "age": 172800.0, "sessions": 10.0, "connected": 4.0, "queued": 10.0,
		"segments": 3.0, "usedBytes": float64(24 << 20), "fullPercent": 100.0, "writtenBytes": 20e6, "blockBytes": 40e6, "bytesPerDay": 10e6, "blockBytesPerDay": 20e6,
		"todayBytes": float64(5 << 20), "dailyBudgetBytes": float64(10 << 20), "damage": 2.0} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}

	// Its folder is not there: it lives in another file system.
	r = edgebroker(t, "store", "verify", "--socket", socket)
	wantCode(t, r, exitError)
	if !strings.Contains(r.stderr, "hint: the daemon sees another file system") {
		t.Errorf("says %q", r.stderr)
	}
}
