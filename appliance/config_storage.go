package appliance

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

// StorageConfig is about the state that survives the process: kept sessions,
// their queues, retained messages. docs/DURABILITY.md says what each level of
// durability promises.
type StorageConfig struct {
	Directory        string            `yaml:"directory"`          // absolute path; empty: state is kept in memory only
	Durability       Durability        `yaml:"durability"`         // of topics that no entry of Topics matches
	Topics           []TopicDurability `yaml:"topics"`             // the first that matches counts
	FlushInterval    time.Duration     `yaml:"flush_interval"`     // what DurabilityFlush may lose
	MaxCommitDelay   time.Duration     `yaml:"max_commit_delay"`   // longest that a message waits for others to share its fsync
	MaxBytes         ByteSize          `yaml:"max_bytes"`          // on disk, segments not yet reclaimed included
	SegmentSize      ByteSize          `yaml:"segment_size"`       // of each file of the log
	DailyWriteBudget ByteSize          `yaml:"daily_write_budget"` // bytes written in a day; 0: none
}

// Durability is what the acknowledgement of a message promises.
type Durability string

// The levels of durability, strongest first.
const (
	DurabilityFsync  Durability = "fsync"  // acknowledged after it is on the disk
	DurabilityFlush  Durability = "flush"  // acknowledged at once, on the disk StorageConfig.FlushInterval later
	DurabilityMemory Durability = "memory" // never written
)

// TopicDurability sets the durability of messages whose topic Filter matches.
// Filter is an MQTT topic filter, not a shared one.
type TopicDurability struct {
	Filter     string     `yaml:"filter"`
	Durability Durability `yaml:"durability"`
}

// Bounds on segments: smaller ones cost more fsyncs of the folder, larger ones
// bind more space until they are reclaimed, for which a few must exist.
const (
	minSegmentSize = 4 * MiB
	maxSegmentSize = 16 * MiB
	minSegments    = 8
)

func defaultStorage() StorageConfig {
	return StorageConfig{
		Durability:     DurabilityFsync,
		FlushInterval:  200 * time.Millisecond,
		MaxCommitDelay: 5 * time.Millisecond,
		MaxBytes:       1 * GiB,
		SegmentSize:    8 * MiB,
	}
}

// findings checks what is not a number; those are checked with all others.
func (s StorageConfig) findings() []finding {
	out := directoryFindings("storage.directory", s.Directory)
	levels := func(path string, d Durability) []finding {
		return oneOf(path, d, DurabilityFsync, DurabilityFlush, DurabilityMemory)
	}
	out = append(out, levels("storage.durability", s.Durability)...)
	if n := len(s.Topics); n > maxListEntries {
		return append(out, finding{path: "storage.topics", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)})
	}
	for i, t := range s.Topics {
		item := fmt.Sprintf("storage.topics[%d]", i)
		out = append(out, filterFindings(item+".filter", t.Filter)...)
		out = append(out, levels(item+".durability", t.Durability)...)
		for j := range i {
			if s.Topics[j].Filter == t.Filter {
				out = append(out, finding{path: item + ".filter", what: quoteShort(t.Filter) + " never counts, because it stands before in", other: fmt.Sprintf("storage.topics[%d]", j), mend: "keep one"})
				break
			}
		}
	}
	return out
}

func directoryFindings(path, dir string) []finding {
	if out := pathFindings(path, dir, "folder"); len(out) > 0 {
		return out
	}
	if dir != "" && filepath.Clean(dir) == "/" {
		return []finding{{path: path, what: "/ is no place for a store", mend: "name a folder of its own, such as /var/lib/edgebroker"}}
	}
	return nil
}

func filterFindings(path, filter string) []finding {
	if filter == "" {
		return []finding{{path: path, what: "no filter", mend: "set one, such as telemetry/#"}}
	}
	if _, _, shared := wire.SplitShare(filter); shared {
		return []finding{{path: path, what: quoteShort(filter) + " is a shared subscription's", mend: "write the filter alone, without $share and group"}}
	}
	if err := wire.ValidFilter(filter); err != nil {
		return []finding{{path: path, what: fmt.Sprintf("%s: %v", quoteShort(filter), err), mend: "+ stands for one whole level, # for all that follow, at the end"}}
	}
	return nil
}
