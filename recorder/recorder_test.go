package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/events"
)

const small = 64 << 10

func open(t interface{ Fatal(...any) }, dir string, most int64) *Recorder {
	r, err := Open(Options{Directory: dir, MaxBytes: most})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// drop is an event with a number, of about size bytes.
func drop(n uint64, size int) events.Event {
	return events.New(events.Drop, "c", events.DropData{ClientID: "c", Topic: strings.Repeat("t", size), Reason: "queue_full", Count: n})
}

// numbers are those of the events that q finds.
func numbers(t interface{ Fatal(...any) }, r *Recorder, q Query) (list []uint64, damaged int) {
	damaged, err := r.Read(context.Background(), q, func(e events.Event) error {
		list = append(list, e.Data.(events.DropData).Count)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, damaged
}

// Whatever happens, what is read is the latest of what was recorded, in order,
// within the bound; a crash costs the line that it has cut.
func TestRecorderIsARing(t *testing.T) {
	for _, onDisk := range []bool{true, false} {
		t.Run(fmt.Sprint("on disk ", onDisk), func(t *testing.T) {
			root := t.TempDir()
			run := 0
			rapid.Check(t, func(t *rapid.T) {
				run++
				dir := ""
				if onDisk {
					dir = filepath.Join(root, fmt.Sprint(run))
				}
				r := open(t, dir, small)
				defer func() { r.Close() }()
				var model []uint64 // recorded, and not lost in a crash
				next, cut := uint64(1), false
				steps := rapid.IntRange(1, 10).Draw(t, "steps")
				for i := range steps {
					added := false
					switch step := rapid.IntRange(0, 9).Draw(t, "step"); {
					case step < 6:
						added = true
						for range rapid.IntRange(1, 60).Draw(t, "events") {
							r.Add(drop(next, rapid.IntRange(0, 900).Draw(t, "size")))
							model = append(model, next)
							next++
						}
					case step < 8 && onDisk: // a restart
						if err := r.Close(); err != nil {
							t.Fatal(err)
						}
						r = open(t, dir, small)
					case onDisk && len(model) > 0: // the end of the last file did not reach the disk
						r.Close()
						list, err := listFiles(dir)
						if err != nil {
							t.Fatal(err)
						}
						last := list[len(list)-1]
						text, err := os.ReadFile(last.path)
						if err != nil {
							t.Fatal(err)
						}
						left := rapid.IntRange(0, len(text)).Draw(t, "left")
						gone := whole(string(text)) - whole(string(text[:left]))
						if err := os.Truncate(last.path, int64(left)); err != nil {
							t.Fatal(err)
						}
						model = model[:len(model)-gone]
						cut = true
						r = open(t, dir, small)
					}
					if added && i < steps-1 {
						continue // to look takes longest
					}
					got, _ := numbers(t, r, Query{})
					if len(got) > len(model) || !slices.Equal(got, model[len(model)-len(got):]) {
						t.Fatalf("read %v of %v", got, model)
					}
					s := r.Stats()
					if s.Bytes > small+flushBytes+2000 || s.Lost > 0 {
						t.Fatalf("%+v", s)
					}
					if room := small - small/segments - flushBytes; len(got) < len(model) && s.Bytes < int64(room) && !cut {
						t.Fatalf("%d of %d are left in %d bytes", len(got), len(model), s.Bytes)
					}
				}
			})
		})
	}
}

// whole is how many events a text holds.
func whole(text string) (n int) {
	for line := range strings.SplitSeq(text, "\n") {
		if json.Valid([]byte(line)) {
			n++
		}
	}
	return n
}

func TestQuery(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		r := open(t, dir, 1<<20)
		var at []time.Time
		for n := range uint64(10) {
			e := drop(n, 1)
			e.Time = time.Date(2026, 1, 1, 12, int(n), 0, int(n), time.UTC)
			at = append(at, e.Time)
			r.Add(e)
		}
		for _, tt := range []struct {
			q    Query
			want []uint64
		}{
			{Query{}, []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
			{Query{Since: at[7]}, []uint64{7, 8, 9}},
			{Query{Since: at[7].Add(1).In(time.FixedZone("x", 3600))}, []uint64{8, 9}},
			{Query{Until: at[1]}, []uint64{0, 1}},
			{Query{Since: at[2], Until: at[3].Add(-1)}, []uint64{2}},
			{Query{Since: at[5], Keep: func(e *events.Event) bool { return e.Data.(events.DropData).Count%2 == 0 }}, []uint64{6, 8}},
		} {
			if got, damaged := numbers(t, r, tt.q); !slices.Equal(got, tt.want) || damaged != 0 {
				t.Errorf("%+v: got %v, %d damaged; want %v", tt.q, got, damaged, tt.want)
			}
		}
		enough := errors.New("enough")
		n := 0
		if _, err := r.Read(t.Context(), Query{}, func(events.Event) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
			t.Errorf("%v after %d", err, n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Read(ctx, Query{}, func(events.Event) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		r.Add(drop(99, 1)) // comes to nothing
		if dir == "" {
			continue
		}
		var list []string
		damaged, err := ReadDirectory(t.Context(), dir, Query{Since: at[9]}, func(e events.Event) error { list = append(list, e.Source); return nil })
		if err != nil || damaged != 0 || len(list) != 1 {
			t.Errorf("by itself: %v, %d, %v", list, damaged, err)
		}
	}
}

// Lines that nobody can have written are counted, not believed, and spoil no
// others. Files that are not ours are left alone.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, 1<<20)
	r.Add(drop(1, 1))
	r.Close()
	path := filepath.Join(dir, name(1))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	long := `{"id":"x","type":"drop","source":"` + strings.Repeat("x", 2*maxLine) + `","timestamp":"2026-01-01T00:00:00.000000000Z","data":null}`
	text := "\n" + string(good) + "{\n\x00\x00\x00\n" + long + "\n" + strings.Replace(string(good), `"data":{`, `"data":[`, 1) + string(good) + string(good[:20])
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"notes.txt", "0001.jsonl", "zzzzzzzzzzzzzzzz.jsonl", name(3) + ".bak"} {
		if err := os.WriteFile(filepath.Join(dir, other), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, name(9)), 0o700); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir, 1<<20)
	defer r.Close()
	r.Add(drop(2, 1))
	got, damaged := numbers(t, r, Query{})
	if !slices.Equal(got, []uint64{1, 1, 2}) || damaged != 5 {
		t.Errorf("%v, %d damaged", got, damaged)
	}
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Error(err)
	}
}

// What cannot be written is lost, counted, and said once; afterwards it works
// again.
func TestDiskFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	r := open(t, dir, 1<<20)
	defer r.Close()
	r.Add(drop(1, 1))
	numbers(t, r, Query{})
	r.lines.(*files).last.Close() // every write fails from now on
	if err := os.Rename(dir, dir+"x"); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		r.Add(drop(10+n, 1))
		r.mu.Lock()
		r.flushLocked()
		r.mu.Unlock()
	}
	if s := r.Stats(); s.Lost != 3 || s.Recorded != 4 {
		t.Errorf("%+v", s)
	}
	if err := os.Rename(dir+"x", dir); err != nil {
		t.Fatal(err)
	}
	r.Add(drop(20, 1))
	if got, damaged := numbers(t, r, Query{}); !slices.Equal(got, []uint64{1, 20}) || damaged != 0 {
		t.Errorf("%v, %d damaged", got, damaged)
	}
	r.Add(events.New(events.System, "x", events.SystemData{Detail: strings.Repeat("x", maxLine)}))
	if s := r.Stats(); s.Lost != 4 {
		t.Errorf("%+v", s)
	}
}

// While nothing can be written there is no new file for each try.
func TestFullDiskGetsNoFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, name(1))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, small)
	defer r.Close()
	r.lines.(*files).last.Close() // the first write fails
	if err := errors.Join(os.Remove(path), os.Symlink("/dev/full", path)); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		r.Add(drop(n, 1))
		r.mu.Lock()
		r.flushLocked()
		r.mu.Unlock()
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if s := r.Stats(); s.Lost != 3 {
		t.Errorf("%+v", s)
	}
}

// Half a line that cannot be taken back spoils no other.
func TestHalfALineStaysAlone(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, 1<<20)
	defer r.Close()
	r.Add(drop(1, 1))
	numbers(t, r, Query{})
	r.lines.(*files).last.Close()
	r.Add(drop(2, 1))
	numbers(t, r, Query{}) // it is lost
	last, err := os.OpenFile(filepath.Join(dir, name(1)), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = last.WriteString(`{"id":"half`)
	if err := errors.Join(err, last.Close()); err != nil {
		t.Fatal(err)
	}
	r.Add(drop(3, 1))
	if got, damaged := numbers(t, r, Query{}); !slices.Equal(got, []uint64{1, 3}) || damaged != 0 {
		t.Errorf("%v, %d damaged", got, damaged)
	}
}

func TestOpenErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Directory: path, MaxBytes: small}); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if _, err := ReadDirectory(t.Context(), path+"x", Query{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A line reaches the file a moment after it was recorded, by itself.
func TestFlush(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir, small)
		r.Add(events.New(events.Message, "c", events.MessageData{ClientID: "c", Topic: "t", Payload: []byte("secret"), Size: 6}))
		time.Sleep(flushAfter)
		synctest.Wait()
		text, err := os.ReadFile(filepath.Join(dir, name(1)))
		if err != nil || !strings.Contains(string(text), `"size":6`) || strings.Contains(string(text), "secret") || !strings.HasSuffix(string(text), "}\n") {
			t.Errorf("%q, %v", text, err)
		}
		r.Close()
	})
}

// Readers and writers do not hold each other up, nor see half a line.
func TestTogether(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		r := open(t, dir, small)
		var writers, readers sync.WaitGroup
		done := make(chan struct{})
		for range 3 {
			readers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					if damaged, err := r.Read(t.Context(), Query{}, func(events.Event) error { return nil }); err != nil || damaged > 0 {
						t.Errorf("%d damaged, %v", damaged, err)
						return
					}
				}
			})
		}
		for w := range uint64(3) {
			writers.Go(func() {
				for n := range uint64(500) {
					r.Add(drop(w<<32|n, 300))
				}
			})
		}
		writers.Wait()
		close(done)
		readers.Wait()
		if s := r.Stats(); s.Recorded != 1500 || s.Lost != 0 {
			t.Errorf("%+v", s)
		}
		r.Close()
	}
}

func BenchmarkAdd(b *testing.B) {
	r := open(b, b.TempDir(), 16<<20)
	defer r.Close()
	e := drop(1, 30)
	b.ReportAllocs()
	for b.Loop() {
		r.Add(e)
	}
}
