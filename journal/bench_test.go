package journal_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/journal"
)

// nullDisk is a Disk that keeps nothing, and costs nothing.
type nullDisk struct{}

type nullFile struct{}

func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nullFile) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nullFile) Resize(int64) error                     { return nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) Close() error                           { return nil }

func (d *nullDisk) Lock() error                                { return nil }
func (d *nullDisk) Unlock() error                              { return nil }
func (d *nullDisk) List() ([]journal.FileInfo, error)          { return nil, nil }
func (d *nullDisk) Open(string) (journal.File, error)          { return nullFile{}, nil }
func (d *nullDisk) Create(string, int64) (journal.File, error) { return nullFile{}, nil }
func (d *nullDisk) Rename(string, string) error                { return nil }
func (d *nullDisk) Remove(string) error                        { return nil }
func (d *nullDisk) Sync() error                                { return nil }

// TestAppendAllocates: in the steady state neither Append nor Commit nor Read
// nor the committer allocates.
func TestAppendAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l, _, _ := open(t, journal.Options{Disk: &nullDisk{}, SegmentSize: 64 << 20, ClockInterval: -1})
	data := make([]byte, 200)
	done := make(result, 1)
	round := func() {
		for range 10 {
			l.Append(1, data)
			l.Commit(journal.Flush, nothing{})
		}
		l.Commit(journal.Sync, done)
		<-done
	}
	for range 1000 {
		round()
	}
	if n := testing.AllocsPerRun(2000, round); n > 0 {
		t.Errorf("%v allocations per ten appends and a commit", n)
	}
	pos := l.Append(1, data)
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(1000, func() {
		var err error
		if _, buf, err = l.Read(pos, buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations per read", n)
	}
}

type nothing struct{}

func (nothing) Committed(error) {}

// BenchmarkAppend is what a caller pays for a record of 200 bytes.
func BenchmarkAppend(b *testing.B) {
	l, _, _ := open(b, journal.Options{Disk: &nullDisk{}, ClockInterval: -1})
	data := make([]byte, 200)
	b.SetBytes(200)
	b.ReportAllocs()
	for b.Loop() {
		l.Append(1, data)
		if l.Backlog() > 1<<20 {
			_ = commit(l, journal.Sync)
		}
	}
}

// BenchmarkCommit is Append and Commit of 200 bytes by so many at once.
func BenchmarkCommit(b *testing.B) {
	for _, medium := range []string{"disk", "null"} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", medium, clients), func(b *testing.B) {
				var disk journal.Disk = &nullDisk{}
				if medium == "disk" {
					base := os.Getenv("EDGEBROKER_BENCH_DIR") // a file system of one's choice
					if base == "" {
						base = b.TempDir()
					}
					d, err := journal.Dir(filepath.Join(base, "bench"))
					if err != nil {
						b.Fatal(err)
					}
					defer os.RemoveAll(filepath.Join(base, "bench"))
					disk = d
				}
				l, _, _ := open(b, journal.Options{Disk: disk})
				defer l.Close()
				data := make([]byte, 200)
				before := l.Stats()
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for c := range clients {
					n := b.N / clients
					if c < b.N%clients {
						n++
					}
					wg.Go(func() {
						done := make(result, 1)
						for range n {
							l.Append(1, data)
							l.Commit(journal.Sync, done)
							if err := <-done; err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				st := l.Stats()
				b.ReportMetric(float64(st.WrittenBytes-before.WrittenBytes)/float64(b.N), "file-B/op")
				b.ReportMetric(float64(st.Records-before.Records)/float64(st.Batches-before.Batches), "op/sync")
				b.ReportMetric(float64((st.SyncTime-before.SyncTime).Microseconds())/float64(st.Syncs-before.Syncs), "us/sync")
			})
		}
	}
}

// BenchmarkOpen is recovery of a log of 64 MiB of small records, from memory.
func BenchmarkOpen(b *testing.B) {
	d, err := journal.Dir(filepath.Join(b.TempDir(), "bench"))
	if err != nil {
		b.Fatal(err)
	}
	o := journal.Options{Disk: d}
	l, _, _ := open(b, o)
	data := make([]byte, 200)
	for range (64 << 20) / 212 {
		l.Append(1, data)
		if l.Backlog() > 4<<20 {
			_ = commit(l, journal.Sync)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		l, _, err := journal.Open(o, func(journal.Record) error { n++; return nil })
		if err != nil || n < 300000 {
			b.Fatal(n, err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	runtime.KeepAlive(data)
}
