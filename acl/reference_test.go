package acl_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/acl"
	"pgregory.net/rapid"
)

// What follows says again, as plainly as it can be said and without looking at
// how the package does it, what rules mean.

// refDecide is the first rule that fits, or -1. Rules of the reference are
// written without escapes.
func refDecide(rules []acl.Rule, s acl.Subject, action acl.Action, topic []string) int {
	for i, r := range rules {
		if r.Action&action == 0 || !refWho(r, s) {
			continue
		}
		for _, f := range r.Filters {
			if refFilter(r.Allow, f, s, topic) {
				return i
			}
		}
	}
	return -1
}

func refAllows(rules []acl.Rule, s acl.Subject, action acl.Action, topic []string) bool {
	i := refDecide(rules, s, action, topic)
	return i >= 0 && rules[i].Allow
}

func refWho(r acl.Rule, s acl.Subject) bool {
	one := func(pattern, name string) bool { return pattern == "" || name != "" && refGlob(pattern, name) }
	group := r.Group == ""
	for _, g := range s.Groups {
		group = group || one(r.Group, g)
	}
	return group && one(r.User, s.User) && one(r.Client, s.ClientID) && one(r.Cert, s.CertName) && one(r.Listener, s.Listener)
}

func refGlob(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' {
		return refGlob(pattern[1:], name) || name != "" && refGlob(pattern, name[1:])
	}
	return name != "" && pattern[0] == name[0] && refGlob(pattern[1:], name[1:])
}

// refFilter puts names in, level by level, and compares.
func refFilter(allow bool, filter string, s acl.Subject, topic []string) bool {
	if !strings.Contains(filter, "%") {
		levels := strings.Split(filter, "/")
		return refDollar(levels, topic) && refLevels(levels, topic)
	}
	var levels []string
	for level := range strings.SplitSeq(filter, "/") {
		for sign, name := range map[string]string{"%u": s.User, "%c": s.ClientID} {
			if strings.Contains(filter, sign) && name == "" {
				return false
			}
		}
		for sign, name := range map[string]string{"%u": s.User, "%c": s.ClientID} {
			if !strings.Contains(level, sign) || !strings.ContainsAny(name, "+#/\x00") && !strings.HasPrefix(name, "$") {
				continue
			}
			if allow {
				return false
			}
			return len(levels) == 0 || refLevels(levels, append([]string{}, topic[:min(len(topic), len(levels))]...)) && refDollar(levels, topic)
		}
		levels = append(levels, strings.NewReplacer("%u", s.User, "%c", s.ClientID).Replace(level))
	}
	return refDollar(levels, topic) && refLevels(levels, topic)
}

// refDollar is [MQTT-4.7.2-1].
func refDollar(filter, topic []string) bool {
	return !strings.HasPrefix(topic[0], "$") || filter[0] != "+" && filter[0] != "#"
}

func refLevels(filter, topic []string) bool {
	switch {
	case len(filter) == 1 && filter[0] == "#":
		return true
	case len(filter) == 0 || len(topic) == 0:
		return len(filter) == len(topic)
	case filter[0] != "+" && filter[0] != topic[0]:
		return false
	case len(filter) == 2 && filter[1] == "#": // the parent level
		return true
	}
	return refLevels(filter[1:], topic[1:])
}

// The small world in which everything is tried: every topic of up to four of
// these levels. No rule or filter spells out z, and none has more than three
// levels, so that whatever could be delivered at all could be here.
func worldLevels() []string { return []string{"a", "b", "aa", "", "$s", "z"} }

const worldDepth = 4

func worldTopics() [][]string {
	var all [][]string
	last := [][]string{nil}
	for range worldDepth {
		var next [][]string
		for _, t := range last {
			for _, l := range worldLevels() {
				next = append(next, append(t[:len(t):len(t)], l))
			}
		}
		last = next
		all = append(all, next...)
	}
	kept := all[:0]
	for _, t := range all {
		if strings.Join(t, "/") != "" {
			kept = append(kept, t)
		}
	}
	return kept
}

// worldFilter draws a filter of up to three levels; rule says that it is for a
// rule and may have names.
func worldFilter(rule bool) *rapid.Generator[string] {
	levels := []string{"a", "a", "b", "+", "+", "", "$s"}
	if rule {
		levels = append(levels, "%u", "%c", "a%c")
	}
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.SampledFrom(levels), 0, 3).Draw(t, "levels")
		if len(parts) == 0 || len(parts) < 3 && rapid.Bool().Draw(t, "hash") {
			parts = append(parts, "#")
		}
		if len(parts) == 1 && parts[0] == "" {
			return "a"
		}
		return strings.Join(parts, "/")
	})
}

func worldNames() []string {
	return []string{"a", "a", "b", "b", "aa", "", "a+", "#", "a/b", "$s", "+"}
}

func worldRule() *rapid.Generator[acl.Rule] {
	patterns := []string{"", "", "", "", "a", "b", "*", "a*", "*b", "a*b", "a*a", "*a*", "**", "a+", "$*"}
	return rapid.Custom(func(t *rapid.T) acl.Rule {
		open := rapid.IntRange(0, 2).Draw(t, "any") > 0
		p := func(what string) string {
			if open {
				return ""
			}
			return rapid.SampledFrom(patterns).Draw(t, what)
		}
		return acl.Rule{
			Allow: rapid.Bool().Draw(t, "allow"),
			User:  p("user"), Group: p("group"), Client: p("client"), Cert: p("cert"), Listener: p("listener"),
			Action:  rapid.SampledFrom([]acl.Action{acl.Publish, acl.Subscribe, acl.All, acl.All}).Draw(t, "action"),
			Filters: rapid.SliceOfN(worldFilter(true), 1, 3).Draw(t, "filters"),
		}
	})
}

func worldSubject() *rapid.Generator[acl.Subject] {
	return rapid.Custom(func(t *rapid.T) acl.Subject {
		n := func(what string) string { return rapid.SampledFrom(worldNames()).Draw(t, what) }
		client := n("client")
		if client == "b" || client == "aa" { // a%c would be a level that is not in the world
			client = "a"
		}
		return acl.Subject{
			User: n("user"), ClientID: client, CertName: n("cert"), Listener: n("listener"),
			Groups: rapid.SliceOfN(rapid.SampledFrom(worldNames()), 0, 2).Draw(t, "groups"),
		}
	})
}

// forCases checks a property on a hundred cases, times what
// EDGEBROKER_ACL_ROUNDS says.
func forCases(t *testing.T, property func(*rapid.T)) {
	rounds := 1
	if s := os.Getenv("EDGEBROKER_ACL_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds {
		rapid.Check(t, property)
	}
}
