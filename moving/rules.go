package moving

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/moving/mosquitto"
)

// scope is for whom the lines of an ACL file become rules.
type scope struct {
	listener string // the only one that they count for; empty: all
	prefix   string // of the client identifiers that may do something
	// userIsClient says that mosquitto puts the user name in the place of the
	// client identifier.
	userIsClient bool
	version      Version
}

// verdictOf is what has become of a line.
type verdictOf struct {
	verdict  Verdict
	note     string
	security bool
}

// rulesOf makes rules of the lines of an ACL file, which decide as mosquitto
// does, or deny more. It returns a verdict for each line.
//
// mosquitto asks the lines of the user, or those for clients without one, and
// then the patterns, for everybody. Here the first rule that fits decides, and
// nothing says "without a user name". So users come first, then the patterns for
// whoever has a name and nothing else for them, and what is left is for those
// without.
func rulesOf(lines []mosquitto.ACLLine, s scope) (rules []acl.Rule, verdicts []verdictOf) {
	verdicts = make([]verdictOf, len(lines))
	var users []string
	own := map[string][]made{} // by user
	var nameless, patterns []made
	for i, l := range lines {
		var got []made
		got, verdicts[i] = s.convert(l)
		switch {
		case l.Pattern:
			patterns = append(patterns, got...)
		case !l.Named:
			nameless = append(nameless, got...)
		case got != nil:
			if own[l.User] == nil {
				users = append(users, l.User)
			}
			own[l.User] = append(own[l.User], got...)
		}
	}
	// What is denied stands first within each part.
	add := func(part []made, change func(*acl.Rule)) {
		for _, deny := range []bool{true, false} {
			for _, m := range part {
				if m.rule.Allow != deny {
					r := m.rule
					r.Filters = slices.Clone(r.Filters)
					if change != nil {
						change(&r)
					}
					rules = append(rules, r)
				}
			}
		}
	}
	for _, u := range users {
		add(own[u], nil)
	}
	all := everything(slices.Concat(nameless, patterns))
	if len(nameless) == 0 {
		rules = append(rules, s.dangerous(patterns, all, "")...)
		add(patterns, nil)
		return rules, verdicts
	}
	rules = append(rules, s.dangerous(patterns, all, "*")...)
	add(patterns, func(r *acl.Rule) { r.User = "*" })
	rules = append(rules, s.nothing(acl.Rule{User: "*"}, all)...)
	add(nameless, nil)
	rules = append(rules, s.dangerous(patterns, all, "")...)
	add(patterns, nil)
	return rules, verdicts
}

// made is a rule that has been made of a line.
type made struct {
	rule         acl.Rule
	user, client bool // it has %u, %c
}

func (s scope) listenerPattern() string {
	if s.listener == "" {
		return ""
	}
	return acl.Literal(s.listener)
}

// dangerous are rules that deny filters to clients with wildcards in their
// names, as mosquitto does where there are patterns. Names in a filter need
// none: they do not fit there. who is the pattern of the user names that this is
// about.
func (s scope) dangerous(patterns []made, filters []string, who string) (rules []acl.Rule) {
	user, client := false, false
	for _, m := range patterns {
		user = user || m.rule.Allow && !m.user
		client = client || m.rule.Allow && !m.client && !s.userIsClient
	}
	for _, c := range []string{"*+*", "*#*"} {
		if user {
			rules = append(rules, s.nothing(acl.Rule{User: c}, filters)...)
		}
		if client {
			rules = append(rules, s.nothing(acl.Rule{User: who, Client: c}, filters)...)
		}
	}
	return rules
}

// nothing are rules that deny filters to whom r is for.
func (s scope) nothing(r acl.Rule, filters []string) (rules []acl.Rule) {
	for part := range slices.Chunk(filters, acl.MaxFilters) {
		r.Allow, r.Listener, r.Action, r.Filters = false, s.listenerPattern(), acl.All, part
		rules = append(rules, r)
	}
	return rules
}

// everything is filters for all topics that one of these rules is about, and for
// all that do not begin with $.
func everything(of []made) []string {
	filters := []string{"#"}
	seen := map[string]bool{}
	for _, m := range of {
		for _, f := range m.rule.Filters {
			if first, _, _ := strings.Cut(f, "/"); strings.HasPrefix(first, "$") && !seen[first] {
				seen[first] = true
				filters = append(filters, first+"/#")
			}
		}
	}
	return filters
}

// convert makes a rule of a line: none where there is nothing to say.
func (s scope) convert(l mosquitto.ACLLine) ([]made, verdictOf) {
	switch {
	case l.Problem != "":
		return nil, verdictOf{Impossible, "mosquitto does not start with this line: it " + l.Problem, true}
	case !l.Rule && !acceptable(l.User):
		return nil, verdictOf{Changed, "the name has characters that none may have here: such a client cannot sign in", true}
	case !l.Rule:
		return nil, verdictOf{Converted, "", false}
	case l.Topic == "$share" || strings.HasPrefix(l.Topic, "$share/"):
		return nil, verdictOf{NotNeeded, "no message has such a topic; shared subscriptions are judged by the filter in them", false}
	}
	m := made{rule: acl.Rule{Allow: l.Access != mosquitto.Deny, Listener: s.listenerPattern(), Action: acl.All}}
	v := verdictOf{verdict: Converted}
	if m.rule.Allow {
		m.rule.Action = actionOf(l.Access)
		if s.prefix != "" {
			m.rule.Client = acl.Literal(s.prefix) + "*"
		}
	}
	if l.Named && !l.Pattern {
		m.rule.User = acl.Literal(l.User)
		if !acceptable(l.User) {
			if m.rule.Allow {
				return nil, verdictOf{Impossible, "is for a user with characters in the name that none may have here; rename the user", true}
			}
			m.rule.User = vague(l.User)
		}
	}
	if strings.HasPrefix(l.Topic, "$") && m.rule.Allow && m.rule.Action&acl.Publish != 0 {
		const why = "clients cannot publish to topics that begin with $"
		if m.rule.Action == acl.Publish {
			if strings.HasPrefix(l.Topic, "$SYS/broker/connection/") {
				return nil, verdictOf{NotNeeded, "clients cannot publish there; edgebroker says by itself how its uplinks are", false}
			}
			return nil, verdictOf{Impossible, why + "; use another topic", false}
		}
		m.rule.Action = acl.Subscribe
		v = verdictOf{Changed, "read only: " + why, false}
	}
	text := l.Topic
	if l.Pattern {
		partial := false
		if text, partial = s.pattern(l.Topic, &m); partial && s.version == Unknown {
			const why = "before 2.1, mosquitto put names into parts of levels, too"
			if m.rule.Allow {
				return nil, verdictOf{Impossible, why + "; say with --mosquitto which version this is for, or give the name a level of its own", true}
			}
			other := m
			other.rule.Filters = []string{literalTopic(l.Topic)}
			m.rule.Filters = []string{text}
			if sound(&m.rule) && sound(&other.rule) {
				return []made{m, other}, verdictOf{Changed, "denies what either way of reading it denies: " + why, false}
			}
			text = widened(text, min(1, strings.Count(text, "/")))
		}
		if partial && s.version == V21 { // a name stands for a whole level, or for itself
			if text = literalTopic(l.Topic); m.user {
				m.rule.User = "*" // nothing with %u in it is for others
			}
			m.user, m.client = false, false
		}
	} else {
		text = literalTopic(text)
	}
	m.rule.Filters = []string{text}
	if sound(&m.rule) {
		return []made{m}, v
	}
	if m.rule.Allow {
		return nil, verdictOf{Impossible, "cannot be written as a rule, so that it allows nothing: it has characters, or more levels, that no rule may have", true}
	}
	for n := strings.Count(l.Topic, "/"); n >= 0; n-- {
		m.rule.Filters = []string{widened(text, n)}
		if sound(&m.rule) {
			break
		}
	}
	return []made{m}, verdictOf{Changed, "denies more, " + m.rule.Filters[0] + ": the topic has characters, or more levels, that no rule may have", true}
}

func actionOf(a mosquitto.Access) (action acl.Action) {
	if a&mosquitto.Read != 0 {
		action |= acl.Subscribe
	}
	if a&mosquitto.Write != 0 {
		action |= acl.Publish
	}
	return action
}

// widened is the first n levels of a filter, and all that follow.
func widened(filter string, n int) string {
	levels := strings.Split(filter, "/")
	return strings.Join(append(levels[:min(n, len(levels)):min(n, len(levels))], "#"), "/")
}

// literalTopic is a topic of mosquitto's as rules write it.
func literalTopic(topic string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `%`, `%%`).Replace(topic)
}

// pattern is that of a pattern line, and whether a name in it is but part of a
// level.
func (s scope) pattern(topic string, m *made) (filter string, partial bool) {
	levels := strings.Split(topic, "/")
	for i, l := range levels {
		var b strings.Builder
		for rest := l; rest != ""; {
			switch {
			case strings.HasPrefix(rest, "%c") && !s.userIsClient:
				m.client = true
				b.WriteString("%c")
			case strings.HasPrefix(rest, "%u"), strings.HasPrefix(rest, "%c"):
				m.user = true
				b.WriteString("%u")
			default:
				_, n := utf8.DecodeRuneInString(rest)
				b.WriteString(literalTopic(rest[:n]))
				rest = rest[n:]
				continue
			}
			partial = partial || len(l) != 2
			rest = rest[2:]
		}
		levels[i] = b.String()
	}
	return strings.Join(levels, "/"), partial
}

// sound reports whether r can stand in a file of rules.
func sound(r *acl.Rule) bool {
	got, err := acl.Parse("", []byte(r.String()))
	return err == nil && len(got) == 1
}

// acceptable reports whether a user name can stand in a rule.
func acceptable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// vague is a pattern that name fits, and has none of the characters that no rule
// may have.
func vague(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r == utf8.RuneError || unicode.IsControl(r) {
			b.WriteByte('*')
		} else {
			b.WriteString(acl.Literal(string(r)))
		}
	}
	return b.String()
}
