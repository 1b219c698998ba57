package acl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

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

// compileFilter reads a filter in the notation of rules.
func compileFilter(text string) (*filter, error) {
	if len(text) > MaxLineBytes {
		return nil, fmt.Errorf("is longer than %d bytes", MaxLineBytes)
	}
	f := &filter{}
	var (
		model   strings.Builder // the filter with x for names
		cur     level
		plain   strings.Builder // text since the last name of cur
		written strings.Builder // cur as it is written
		percent bool
		bad     error
	)
	flush := func() {
		if plain.Len() > 0 {
			cur.pieces = append(cur.pieces, piece{0, plain.String()})
			plain.Reset()
		}
	}
	endLevel := func() {
		if cur.pieces == nil {
			cur.text = plain.String()
			plain.Reset()
		} else {
			flush()
			cur.text = written.String()
		}
		f.levels, cur = append(f.levels, cur), level{}
		written.Reset()
	}
	err := unescape(text, func(r rune) {
		if percent {
			percent = false
			written.WriteString("%" + string(r))
			switch r {
			case '%':
				plain.WriteByte('%')
				model.WriteByte('%')
			case 'u', 'c':
				flush()
				cur.pieces = append(cur.pieces, piece{name: byte(r)})
				f.user, f.client = f.user || r == 'u', f.client || r == 'c'
				model.WriteByte('x')
			default:
				bad = fmt.Errorf("has %%%c; write %%u for the user, %%c for the client id, %%%% for a percent sign", r)
			}
			return
		}
		switch r {
		case '%':
			percent = true
		case '/':
			model.WriteByte('/')
			endLevel()
		default:
			model.WriteRune(r)
			plain.WriteRune(r)
			written.WriteRune(r)
		}
	}, func() error {
		return errors.New(`has *, which is no wildcard of MQTT; write + for one level, # for all that follow, \* for the character`)
	})
	switch {
	case err != nil:
		return nil, err
	case bad != nil:
		return nil, bad
	case percent:
		return nil, errors.New("ends in a single %; write %% for a percent sign")
	}
	endLevel()
	return f, f.check(model.String())
}

// check looks at the whole filter, of which model is an instance, and marks
// its wildcards.
func (f *filter) check(model string) error {
	if model == "$share" || strings.HasPrefix(model, "$share/") {
		return errors.New("is a shared subscription; rules are about the filter inside, so leave $share/NAME/ off")
	}
	if err := wire.ValidFilter(model); err != nil {
		var e *wire.Error
		if errors.As(err, &e) {
			return errors.New("is no topic filter: " + e.Detail)
		}
		return err
	}
	if len(f.levels) > MaxLevels {
		return fmt.Errorf("has more than %d levels", MaxLevels)
	}
	if model[0] == '$' && f.levels[0].pieces != nil {
		return errors.New("has a name in a level that begins with $; write that level out")
	}
	if n := len(f.levels) - 1; f.levels[n].is("#") {
		f.levels, f.hash = f.levels[:n], true
	}
	for i := range f.levels {
		f.levels[i].plus = f.levels[i].is("+")
	}
	if len(f.levels) == 0 { // # and +/# cover the same topics
		f.levels = []level{{plus: true, text: "+"}}
	}
	f.finish()
	return nil
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

// finish sets what can be known from the levels.
func (f *filter) finish() *filter {
	f.plain = 0
	for f.plain < len(f.levels) && !f.levels[f.plain].plus && f.levels[f.plain].pieces == nil {
		f.plain++
	}
	var b strings.Builder
	for i := range f.plain {
		b.WriteString(f.levels[i].text)
		if i < len(f.levels)-1 {
			b.WriteByte('/')
		}
	}
	f.head = b.String()
	return f
}

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
		for _, p := range f.levels[i].pieces {
			if p.name == 'u' && badUser || p.name == 'c' && badClient {
				cut.everything = i == 0
				return cut.finish()
			}
		}
		cut.levels = f.levels[:i+1]
		cut.user, cut.client = cut.user || f.levels[i].names('u'), cut.client || f.levels[i].names('c')
	}
	return cut
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
		same := !b.plus && a.text == b.text && (a.pieces == nil) == (b.pieces == nil)
		if !a.plus && !same {
			return false
		}
	}
	return true
}
