package appliance

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/relay"
)

// SessionClass are the sessions of the clients that it names by identifier, by
// user name, or by both, which must match then. In a pattern * stands for any
// characters; an empty one matches all. What is empty or 0 of the rest is as
// for all sessions.
type SessionClass struct {
	Clients           string   `yaml:"clients"`
	Users             string   `yaml:"users"`
	WhenFull          WhenFull `yaml:"when_full"`
	MaxQueuedMessages int      `yaml:"max_queued_messages"`
	MaxQueuedBytes    ByteSize `yaml:"max_queued_bytes"`
}

func classItem(i int) string { return fmt.Sprintf("sessions.classes[%d]", i) }

// matcher is a pattern that can be asked.
func matcher(pattern string) func(string) bool {
	if pattern == "" {
		return func(string) bool { return true }
	}
	re := regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `\z`)
	return re.MatchString
}

var relayPolicies = map[WhenFull]relay.Policy{DropOldest: relay.DropOldest, DropNewest: relay.DropNewest, Refuse: relay.Refuse}

// queueRules are the bounds of queues: of those of no class, and by client; nil
// if there are neither classes nor uplinks.
func (c Config) queueRules() (relay.QueueRules, func(clientID, username string) *relay.QueueRules) {
	s := c.Sessions
	all := relay.QueueRules{MaxQueued: s.MaxQueuedMessages, MaxQueuedBytes: int64(s.MaxQueuedBytes), WhenFull: relayPolicies[c.FullQueue()]}
	if len(s.Classes) == 0 && len(c.Bridges) == 0 {
		return all, nil
	}
	uplinks := make(map[string]*relay.QueueRules)
	for _, b := range c.Bridges {
		for _, l := range b.lines(nil) {
			uplinks[bridge.SessionPrefix+l.title()] = b.queueOf(l.settled()).queue()
		}
		uplinks[bridge.SessionPrefix+b.Name+bridge.DeadSuffix] = &relay.QueueRules{MaxQueued: deadLetters, MaxQueuedBytes: int64(deadBytes), WhenFull: relay.DropOldest}
	}
	type class struct {
		client, user func(string) bool
		rules        relay.QueueRules
	}
	classes := make([]class, len(s.Classes))
	for i, k := range s.Classes {
		classes[i] = class{matcher(k.Clients), matcher(k.Users), relay.QueueRules{
			MaxQueued:      cmp.Or(k.MaxQueuedMessages, all.MaxQueued),
			MaxQueuedBytes: cmp.Or(int64(k.MaxQueuedBytes), all.MaxQueuedBytes),
			WhenFull:       relayPolicies[cmp.Or(k.WhenFull, c.FullQueue())],
		}}
	}
	return all, func(clientID, username string) *relay.QueueRules {
		if rules := uplinks[clientID]; rules != nil {
			return rules
		}
		for i := range classes {
			if k := &classes[i]; k.client(clientID) && k.user(username) {
				return &k.rules
			}
		}
		return &all
	}
}

func (c Config) classFindings() []finding {
	list := c.Sessions.Classes
	if n := len(list); n > maxListEntries {
		return []finding{{path: "sessions.classes", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)}}
	}
	var out []finding
	for i, k := range list {
		item := classItem(i)
		if k.WhenFull != "" {
			out = append(out, oneOf(item+".when_full", k.WhenFull, DropOldest, DropNewest, Refuse)...)
		}
		if k.MaxQueuedMessages != 0 {
			out = append(out, within[int]{item + ".max_queued_messages", k.MaxQueuedMessages, 1, math.MaxInt32, false}.findings()...)
		}
		if k.MaxQueuedBytes != 0 {
			out = append(out, within[ByteSize]{item + ".max_queued_bytes", k.MaxQueuedBytes, 1 * KiB, math.MaxInt64, false}.findings()...)
		}
		out = append(out, k.budgetFindings(item, &c)...)
		switch {
		case strings.Trim(k.Clients, "*") == "" && strings.Trim(k.Users, "*") == "":
			out = append(out, finding{path: item, what: "it matches every client", mend: "set clients or users to a pattern such as \"panel-*\", or set the keys in sessions"})
		case k.WhenFull == "" && k.MaxQueuedMessages == 0 && k.MaxQueuedBytes == 0:
			out = append(out, finding{path: item, what: "it changes nothing", mend: "set when_full, max_queued_messages or max_queued_bytes, or remove it"})
		}
		for j := range i {
			if list[j].Clients == k.Clients && list[j].Users == k.Users {
				out = append(out, finding{path: item, what: "it never counts, because the same clients stand before in", other: classItem(j), mend: "keep one"})
				break
			}
		}
	}
	return out
}

// budgetFindings compares the bounds of a class with those that must fit into
// each other.
func (k SessionClass) budgetFindings(item string, c *Config) []finding {
	var out []finding
	bytes, path := k.MaxQueuedBytes, item+".max_queued_bytes"
	if bytes >= 1*KiB && bytes < c.Limits.MaxPacketSize {
		out = append(out, finding{path: path, what: fmt.Sprintf("%v could never hold a message of the %v of", bytes, c.Limits.MaxPacketSize), other: "limits.max_packet_size", mend: "raise this or lower that"})
	}
	if bytes > c.Sessions.TotalQueuedBytes && !c.Storage.persistent() {
		out = append(out, finding{path: path, what: fmt.Sprintf("the %v for one session do not fit into the %v for all of", bytes, c.Sessions.TotalQueuedBytes), other: "sessions.total_queued_bytes", mend: "lower this or raise that"})
	}
	return out
}
