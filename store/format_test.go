package store_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/store"
	"github.com/synthetism/edgebroker/wire"
)

// everything is an archive of a store with every kind of record in it.
func everything(t *testing.T) []byte {
	var archive bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, func(c *relay.Config, o *store.Options) { o.SegmentSize, c.SpillBytes, c.MaxInflight = 4<<10, 900, 4 })
		w.start()
		w.settle()
		will := kept("willing", 7200)
		will.Will = &wire.Will{Topic: "wills/w", Payload: []byte("gone"), QoS: 1, Delay: 3600, Props: []byte{0x26, 0, 1, 'k', 0, 1, 'v'}}
		sub, away, member, dying, pub := w.client(kept("sub", 3600)), w.client(kept("away", 7200)), w.client(kept("member", 3600)), w.client(will), w.client(kept("pub", 3600))
		sub.subscribe(relay.Subscription{Filter: "t/+", QoS: 2, ID: 7, RetainAsPublished: true}, relay.Subscription{Filter: "u", QoS: 1, NoLocal: true})
		away.subscribe(relay.Subscription{Filter: "#", QoS: 1, RetainHandling: 2, Drain: &relay.Drain{Rank: 2, TTL: time.Hour, Latest: true}},
			relay.Subscription{Filter: "none/#", Drain: &relay.Drain{Rank: 1, Never: true}})
		member.subscribe(relay.Subscription{Filter: "$share/g/t/#", QoS: 2, ID: 9})
		away.leave()
		dying.die()
		for i := range uint16(24) {
			pub.publish(fmt.Sprint("t/", i%3), strings.Repeat("x", 20), byte(1+i%2), i+1)
		}
		sub.ack(wire.PUBREC, 3) // half way
		sub.ack(wire.PUBACK, 2)
		pub.ack(wire.PUBREL, 2) // and of the others none
		pub.publish("state", "off", 1, 40, retain)
		pub.publish("state", "on", 1, 41, retain, expires(600))
		pub.publish("old", "x", 1, 42, retain)
		pub.publish("old", "", 1, 43, retain)
		pass(5 * time.Second)
		if err := w.store.Backup(&archive); err != nil {
			t.Fatal(err)
		}
		w.stop()
	})
	return archive.Bytes()
}

// unpacked is the store in an archive.
func unpacked(t *testing.T, archive io.Reader) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := store.Unpack(archive, dir, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	return dir
}

func folder(t *testing.T, dir string) journal.Disk {
	t.Helper()
	disk, err := journal.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// What any released version has written can be read, and means the same. To add
// the store of a new format, name its archive and run with WRITE_FORMAT=1.
func TestFormats(t *testing.T) {
	if os.Getenv("WRITE_FORMAT") != "" {
		writeFormat(t)
	}
	archives, err := filepath.Glob("testdata/format-*.tar.gz")
	if err != nil || len(archives) != store.Format {
		t.Fatalf("testdata has the formats %v, %v; want 1 to %d", archives, err, store.Format)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			dir := unpacked(t, z)
			want, err := os.ReadFile(strings.TrimSuffix(path, ".tar.gz") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			c, err := store.Inspect(folder(t, dir))
			if err != nil || len(c.Damage) > 0 || len(c.Sessions) != 5 {
				t.Errorf("inspected: %d sessions, %v, %v", len(c.Sessions), c.Damage, err)
			}
			for _, when := range []string{"as it was", "after a checkpoint"} {
				got, bad := reopen(t, folder(t, dir))
				if got+"\n" != string(want) || bad {
					t.Errorf("%s: the store has, damaged: %v\n%s\nwant\n%s", when, bad, got, want)
				}
				checkpoint(t, folder(t, dir))
			}
		})
	}
}

func writeFormat(t *testing.T) {
	archive := everything(t)
	text, bad := reopen(t, folder(t, unpacked(t, bytes.NewReader(archive))))
	if bad {
		t.Fatal("the new store is damaged")
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(archive)
	name := fmt.Sprintf("testdata/format-%d", store.Format)
	if err := errors.Join(err, w.Close(), os.MkdirAll("testdata", 0o755), os.WriteFile(name+".tar.gz", z.Bytes(), 0o644), os.WriteFile(name+".txt", []byte(text+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// checkpoint writes the whole state anew.
func checkpoint(t *testing.T, disk journal.Disk) {
	t.Helper()
	w := newWorld(t, 1, func(c *relay.Config, o *store.Options) {
		o.Disk, o.SegmentSize, c.SpillBytes, c.MaxInflight = disk, 4<<10, 900, 4
	})
	w.start()
	before := w.store.Journal().Stats().Checkpoints
	for w.store.Journal().Stats().Checkpoints == before {
		if err := w.store.Journal().Checkpoint(func() error { w.relay.Snapshot(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	w.relay.Close()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// A store of a later format is refused by all who could harm it, and by those
// who could not read it.
func TestLaterFormat(t *testing.T) {
	dir := unpacked(t, bytes.NewReader(everything(t)))
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	last := segments[len(segments)-1]
	b, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(b[14:], store.Format+1)
	binary.LittleEndian.PutUint32(b[508:], crc32.Checksum(b[:508], crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(last, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var v *journal.VersionError
	if _, _, _, err := store.Open(store.Options{Disk: folder(t, dir), Log: slog.New(slog.DiscardHandler)}); !errors.As(err, &v) || v.Found != store.Format+1 || !strings.Contains(err.Error(), filepath.Base(last)+" has records of format version 3") {
		t.Errorf("opened: %v", err)
	}
	if _, err := store.Inspect(folder(t, dir)); !errors.As(err, &v) || !strings.Contains(err.Error(), "the store has records of format version 3") {
		t.Errorf("inspected: %v", err)
	}
	if after, err := os.ReadFile(last); err != nil || !slices.Equal(after, b) {
		t.Errorf("the segment was changed: %v", err)
	}
}
