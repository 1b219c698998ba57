package acl

import "strings"

// names is what %u and %c stand for.
type names struct{ user, client string }

// fitness says what may become of a name in a filter.
type fitness uint8

const (
	absent fitness = iota // there is no name
	unfit                 // the name cannot be a level, or part of one
	fit
)

// fitnessOf looks for what would make more of a filter than its writer meant.
func fitnessOf(name string) fitness {
	switch {
	case name == "":
		return absent
	case name[0] == '$', strings.ContainsAny(name, "+#/\x00"):
		return unfit
	}
	return fit
}

// piece is a part of a level: text, or what stands for a name.
type piece struct {
	name byte // 'u', 'c', or 0 for text
	text string
}

// level is one level of a filter.
type level struct {
	plus   bool
	text   string  // a level without names; with names the same, as it is written
	pieces []piece // nil unless the level has names
}

// filter is a rule's topic filter, taken apart.
type filter struct {
	levels     []level // none only if everything; # alone is kept as +/#
	head       string  // what topics begin with: the levels of text alone, and a slash if others follow
	plain      int     // number of levels in head
	hash       bool    // # follows the levels
	everything bool    // with hash: all topics, those with $ as well
	user       bool    // has %u
	client     bool    // has %c
}

func (l *level) is(text string) bool { return l.pieces == nil && l.text == text }

// matches reports whether the topic level s is one that l covers.
func (l *level) matches(s string, n *names) bool {
	if l.plus {
		return true
	}
	if l.pieces == nil {
		return s == l.text
	}
	for i := range l.pieces {
		want := l.pieces[i].text
		switch l.pieces[i].name {
		case 'u':
			want = n.user
		case 'c':
			want = n.client
		}
		if len(s) < len(want) || s[:len(want)] != want {
			return false
		}
		s = s[len(want):]
	}
	return s == ""
}

// expand is the level with its names put in. Not for +.
func (l *level) expand(n *names) string {
	if l.pieces == nil {
		return l.text
	}
	var b strings.Builder
	for _, p := range l.pieces {
		switch p.name {
		case 'u':
			b.WriteString(n.user)
		case 'c':
			b.WriteString(n.client)
		default:
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// wildFirst says that the filter begins with a wildcard, and so does not cover
// topics that begin with $. [MQTT-4.7.2-1]
func (f *filter) wildFirst() bool { return len(f.levels) > 0 && f.levels[0].plus }

// matches reports whether f covers the topic, for names that fit.
func (f *filter) matches(topic string, n *names) bool {
	if len(topic) < len(f.head) || topic[:len(f.head)] != f.head || topic == "" {
		return false
	}
	if f.plain == len(f.levels) {
		return len(topic) == len(f.head) || f.hash && (topic[len(f.head)] == '/' || f.everything)
	}
	if topic[0] == '$' && f.wildFirst() {
		return false
	}
	topic = topic[len(f.head):]
	for i := f.plain; ; i++ {
		last := i == len(f.levels)-1
		end := strings.IndexByte(topic, '/')
		if end < 0 {
			return last && f.levels[i].matches(topic, n)
		}
		if !f.levels[i].matches(topic[:end], n) {
			return false
		}
		if last {
			return f.hash
		}
		topic = topic[end+1:]
	}
}

// reduce is what f comes to for a subject with such names, or nil if nothing.
// A filter of an allow rule with a name that does not fit covers nothing. In a
// deny rule such a name could be meant to be anything, so that the filter
// covers everything below the level before it.
func (f *filter) reduce(allow bool, user, client fitness) *filter {
	if f.user && user == absent || f.client && client == absent {
		return nil
	}
	badUser, badClient := f.user && user == unfit, f.client && client == unfit
	if !badUser && !badClient {
		return f
	}
	if allow {
		return nil
	}
	cut := &filter{hash: true}
	for i := range f.levels {
		l := &f.levels[i]
		if badUser && l.names('u') || badClient && l.names('c') {
			cut.everything = i == 0
			break
		}
		cut.levels = f.levels[:i+1]
		cut.user, cut.client = cut.user || l.names('u'), cut.client || l.names('c')
	}
	return cut.finish()
}

func (l *level) names(name byte) bool {
	for _, p := range l.pieces {
		if p.name == name {
			return true
		}
	}
	return false
}

// covers reports whether f covers every topic that g covers, whatever the
// names, if they fit.
func (f *filter) covers(g *filter) bool {
	switch {
	case f.everything:
		return true
	case g.everything, g.hash && !f.hash:
		return false
	case len(f.levels) > len(g.levels), len(f.levels) < len(g.levels) && !f.hash:
		return false
	case f.wildFirst() && strings.HasPrefix(g.levels[0].text, "$"):
		return false
	}
	for i := range f.levels {
		a, b := &f.levels[i], &g.levels[i]
		same := a.text == b.text && (a.pieces == nil) == (b.pieces == nil)
		if !a.plus && !same {
			return false
		}
	}
	return true
}
