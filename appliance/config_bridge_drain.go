package appliance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// BridgeLane is a queue of its own for some of what goes out by an uplink, with a
// connection of its own. What is 0 or empty is as the uplink says, but for the
// rates, which are bounds below the uplink's.
type BridgeLane struct {
	Name              string   `yaml:"name"`
	SendRate          int      `yaml:"send_rate"`  // messages per second; 0: any number
	SendBytes         ByteSize `yaml:"send_bytes"` // per second; 0: any number
	MaxQueuedMessages int      `yaml:"max_queued_messages"`
	MaxQueuedBytes    ByteSize `yaml:"max_queued_bytes"`
	WhenFull          WhenFull `yaml:"when_full"`

	Order BridgeOrder `yaml:"order"`
}

// BridgeKeep is which of the messages on a topic wait.
type BridgeKeep string

// What may be kept.
const (
	KeepAll    BridgeKeep = "all"
	KeepLatest BridgeKeep = "latest"
)

// maxLanes is how many lanes an uplink may have: each has a connection.
const maxLanes = 16

// reservedLanes are names that sessions of uplinks end in already.
var reservedLanes = []string{"canary", "dead", "replay"}

// queueOf is c with the bounds of l.
func (c BridgeConfig) queueOf(l BridgeLane) BridgeConfig {
	c.MaxQueuedMessages = cmp.Or(l.MaxQueuedMessages, c.MaxQueuedMessages)
	c.MaxQueuedBytes = cmp.Or(l.MaxQueuedBytes, c.MaxQueuedBytes)
	c.WhenFull = cmp.Or(l.WhenFull, c.WhenFull)
	return c
}

// drainFindings looks at how the messages of a rule wait.
func (t BridgeTopic) drainFindings(at string) (out []finding) {
	if t.Direction == BridgeIn {
		for _, k := range []struct {
			key string
			set bool
		}{{"ttl", t.TTL != 0}, {"keep", t.Keep != ""}, {"lane", t.Lane != ""}} {
			if k.set {
				out = append(out, finding{path: at + "." + k.key, what: "this is about what goes out, and nothing does with", other: at + ".direction", mend: "remove it"})
			}
		}
		return out
	}
	if t.Keep != "" {
		out = append(out, oneOf(at+".keep", t.Keep, KeepAll, KeepLatest)...)
	}
	if t.TTL != 0 {
		out = append(out, within[time.Duration]{at + ".ttl", t.TTL, time.Second, 3650 * day, false}.findings()...)
	}
	return out
}

// laneFindings looks at lanes, and at who uses them.
func (c BridgeConfig) laneFindings(item string) (out []finding) {
	if n := len(c.Lanes); n > maxLanes {
		return []finding{{path: item + ".lanes", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most; each has a connection", maxLanes)}}
	}
	itemOf := func(i int) string { return fmt.Sprintf("%s.lanes[%d]", item, i) }
	for i, l := range c.Lanes {
		at := itemOf(i)
		out = append(out, entryNameFindings(i, func(j int) string { return c.Lanes[j].Name }, itemOf, "a lane", "alarms")...)
		if slices.Contains(reservedLanes, l.Name) {
			out = append(out, finding{path: at + ".name", what: "\"" + l.Name + "\" means something else", mend: "pick another"})
		} else if entryName.MatchString(l.Name) && !slices.ContainsFunc(c.Topics, func(t BridgeTopic) bool { return t.Lane == l.Name }) {
			out = append(out, finding{path: at, what: "no entry of topics names this lane", mend: "add lane: " + l.Name + " to one, or remove it here"})
		}
		out = append(out, within[int]{at + ".send_rate", l.SendRate, 1, 10_000_000, true}.findings()...)
		out = append(out, within[ByteSize]{at + ".send_bytes", l.SendBytes, 1, 10 * GiB, true}.findings()...)
		if l.MaxQueuedMessages != 0 {
			out = append(out, within[int]{at + ".max_queued_messages", l.MaxQueuedMessages, 1, math.MaxInt32, false}.findings()...)
		}
		if l.MaxQueuedBytes != 0 {
			out = append(out, within[ByteSize]{at + ".max_queued_bytes", l.MaxQueuedBytes, 1 * KiB, math.MaxInt64, false}.findings()...)
		}
		if l.WhenFull != "" {
			out = append(out, oneOf(at+".when_full", l.WhenFull, DropOldest, DropNewest, Refuse)...)
		}
	}
	var names []string
	for _, l := range c.Lanes {
		if l.Name != "" && !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	for i, t := range c.Topics {
		if t.Lane != "" && !slices.Contains(names, t.Lane) {
			mend := "add it to lanes"
			if len(names) > 0 {
				mend += ", or use " + strings.Join(names, ", ")
			}
			out = append(out, finding{path: fmt.Sprintf("%s.topics[%d].lane", item, i), what: "there is no lane " + quoteShort(t.Lane), mend: mend})
		}
	}
	if len(c.Lanes) > 0 && c.NATS.OnlyWriter {
		out = append(out, finding{path: item + ".nats.only_writer", what: "the stream has several writers with", other: item + ".lanes", mend: "remove this, or the lanes"})
	}
	if len(c.Lanes) > 0 && c.guardless() {
		out = append(out, finding{path: item + ".loop_guard", what: "what goes out by a lane could come in again; it must be on with", other: item + ".lanes", mend: "remove it, or take in by another uplink"})
	}
	return out
}
