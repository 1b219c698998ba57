package statsd

import (
	"strconv"
	"strings"
	"time"
)

// SysValue is one value of a SysTree.
type SysValue struct {
	Topic string // "$SYS/broker/..."
	Value string // plain text
}

// SysTree makes of Snapshots what mosquitto publishes of itself: the same topics
// with the same forms of values, where loads are per minute. docs/MONITORING.md
// lists them. It is not safe for concurrent use.
type SysTree struct {
	// Pace is how soon after something has been counted there is an Update: at rest
	// none come, so that loads go down meanwhile. 0: they come all the time.
	Pace time.Duration

	at      time.Time // of the last Update
	topics  []sysTopic
	loads   []sysLoad
	meters  []*Meter
	names   []string          // of all topics, with sysPrefix
	last    []string          // by place
	bridges map[string]string // by topic
	maxHeap uint64
}

// sysTopic is a topic below "$SYS/broker/" and its value.
type sysTopic struct {
	name  string
	value func(t *SysTree, s *Snapshot) string
}

// sysLoad is a total whose growth per minute is averaged over 1, 5 and 15
// minutes.
type sysLoad struct {
	name  string // below "$SYS/broker/load/"
	total func(s *Snapshot) uint64
}

const sysPrefix = "$SYS/broker/"

// NewSysTree returns a SysTree for which the totals stand at s at the time now.
func NewSysTree(s *Snapshot, now time.Time) *SysTree {
	t := &SysTree{at: now, topics: sysTopics(), loads: sysLoads()}
	for _, l := range t.loads {
		t.meters = append(t.meters, NewMeter(l.total(s), now))
	}
	for _, topic := range t.topics {
		t.names = append(t.names, sysPrefix+topic.name)
	}
	for _, l := range t.loads {
		for _, span := range []string{"1min", "5min", "15min"} {
			t.names = append(t.names, sysPrefix+"load/"+l.name+"/"+span)
		}
	}
	t.last = make([]string, len(t.names))
	return t
}

// Update takes s, as of now, and returns the values that have changed since the
// last Update; the first returns all. Times must carry Go's monotonic clock.
func (t *SysTree) Update(s *Snapshot, now time.Time) []SysValue {
	t.maxHeap = max(t.maxHeap, s.Memory.Heap)
	rested := t.Pace > 0 && now.Sub(t.at) >= 2*t.Pace
	t.at = now
	var changed []SysValue
	at := 0
	set := func(value string) {
		if t.last[at] != value {
			t.last[at] = value
			changed = append(changed, SysValue{t.names[at], value})
		}
		at++
	}
	for _, topic := range t.topics {
		set(topic.value(t, s))
	}
	for i, l := range t.loads {
		if rested {
			t.meters[i].Rest(now.Add(-t.Pace))
		}
		t.meters[i].Update(l.total(s), now)
		r := t.meters[i].Rate()
		for _, average := range []float64{r.Min1, r.Min5, r.Min15} {
			set(strconv.FormatFloat(60*average, 'f', 2, 64))
		}
	}
	return append(changed, t.connections(s)...)
}

// connections are the states of uplinks that have changed: "1" when the far side
// answers, "0" when it does not, and "" of one that is gone.
func (t *SysTree) connections(s *Snapshot) (changed []SysValue) {
	now := make(map[string]string)
	for i := range s.Bridges {
		b := &s.Bridges[i]
		topic := sysPrefix + "connection/" + b.ClientID + "/state"
		now[topic] = "0"
		if b.State == "up" {
			now[topic] = "1"
		}
		if t.bridges[topic] != now[topic] {
			changed = append(changed, SysValue{topic, now[topic]})
		}
	}
	for topic := range t.bridges {
		if _, there := now[topic]; !there {
			changed = append(changed, SysValue{topic, ""})
		}
	}
	t.bridges = now
	return changed
}

// Values are all values as of the last Update, but for the states of uplinks.
func (t *SysTree) Values() []SysValue {
	all := make([]SysValue, len(t.names))
	for i, name := range t.names {
		all[i] = SysValue{name, t.last[i]}
	}
	return all
}

// asked is how often a client has sent CONNECT, whatever the answer.
func (s *Snapshot) asked() uint64 { return s.Connections.Total + s.Refusals["connect"] }

func sysLoads() []sysLoad {
	return []sysLoad{
		{"messages/received", func(s *Snapshot) uint64 { return s.Received.Packets }},
		{"messages/sent", func(s *Snapshot) uint64 { return s.Sent.Packets }},
		{"publish/dropped", func(s *Snapshot) uint64 { return s.Dropped.Missed() }},
		{"publish/received", func(s *Snapshot) uint64 { return s.Received.Messages }},
		{"publish/sent", func(s *Snapshot) uint64 { return s.Sent.Messages }},
		{"bytes/received", func(s *Snapshot) uint64 { return s.Received.Bytes }},
		{"bytes/sent", func(s *Snapshot) uint64 { return s.Sent.Bytes }},
		{"sockets", func(s *Snapshot) uint64 { return s.Connections.Opened }},
		{"connections", func(s *Snapshot) uint64 { return s.asked() }},
	}
}

func sysTopics() []sysTopic {
	signed := func(name string, value func(s *Snapshot) int64) sysTopic {
		return sysTopic{name, func(_ *SysTree, s *Snapshot) string { return strconv.FormatInt(value(s), 10) }}
	}
	unsigned := func(name string, value func(s *Snapshot) uint64) sysTopic {
		return sysTopic{name, func(_ *SysTree, s *Snapshot) string { return strconv.FormatUint(value(s), 10) }}
	}
	connected := func(s *Snapshot) int64 { return s.Sessions.Connected }
	kept := func(s *Snapshot) int64 { return s.Sessions.Kept }
	stored := func(s *Snapshot) int64 { return s.Retained.Messages + s.Queued.Messages + s.Queued.Inflight }
	return []sysTopic{
		{"version", func(_ *SysTree, s *Snapshot) string {
			return "edgebroker version " + strings.ReplaceAll(SafeText(s.Version, maxText), "\n", " ")
		}},
		{"uptime", func(_ *SysTree, s *Snapshot) string { return strconv.FormatInt(int64(s.Uptime), 10) + " seconds" }},
		signed("clients/total", func(s *Snapshot) int64 { return s.Sessions.Total }),
		signed("clients/inactive", kept),
		signed("clients/disconnected", kept),
		signed("clients/active", connected),
		signed("clients/connected", connected),
		unsigned("clients/expired", func(s *Snapshot) uint64 { return s.Sessions.Expired }),
		signed("clients/maximum", func(s *Snapshot) int64 { return s.Connections.Maximum }),
		signed("messages/stored", stored),
		unsigned("messages/received", func(s *Snapshot) uint64 { return s.Received.Packets }),
		unsigned("messages/sent", func(s *Snapshot) uint64 { return s.Sent.Packets }),
		signed("store/messages/count", stored),
		signed("store/messages/bytes", func(s *Snapshot) int64 { return s.Retained.Bytes + s.Queued.Bytes }),
		signed("subscriptions/count", func(s *Snapshot) int64 { return s.Subscriptions.Total - s.Subscriptions.Shared }),
		signed("shared_subscriptions/count", func(s *Snapshot) int64 { return s.Subscriptions.Shared }),
		signed("retained messages/count", func(s *Snapshot) int64 { return s.Retained.Messages }),
		unsigned("heap/current", func(s *Snapshot) uint64 { return s.Memory.Heap }),
		{"heap/maximum", func(t *SysTree, _ *Snapshot) string { return strconv.FormatUint(t.maxHeap, 10) }},
		unsigned("publish/messages/dropped", func(s *Snapshot) uint64 { return s.Dropped.Missed() }),
		unsigned("publish/messages/received", func(s *Snapshot) uint64 { return s.Received.Messages }),
		unsigned("publish/messages/sent", func(s *Snapshot) uint64 { return s.Sent.Messages }),
		unsigned("publish/bytes/received", func(s *Snapshot) uint64 { return s.Received.PayloadBytes }),
		unsigned("publish/bytes/sent", func(s *Snapshot) uint64 { return s.Sent.PayloadBytes }),
		unsigned("bytes/received", func(s *Snapshot) uint64 { return s.Received.Bytes }),
		unsigned("bytes/sent", func(s *Snapshot) uint64 { return s.Sent.Bytes }),
		signed("packet/out/count", func(s *Snapshot) int64 { return s.Outbound.Packets }),
		signed("packet/out/bytes", func(s *Snapshot) int64 { return s.Outbound.Bytes }),
		signed("connections/socket/count", func(s *Snapshot) int64 { return s.Connections.Sockets }),
	}
}
