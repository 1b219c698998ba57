package acl

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what is read. Beyond them a file is refused.
const (
	MaxFileBytes = 4 << 20 // bytes of one file
	MaxLineBytes = 4096    // bytes of one line
	MaxRules     = 50_000  // rules of one policy, all files together
	MaxFilters   = 32      // topic filters of one rule
	MaxLevels    = 128     // levels of one topic filter
)

// Action is a set of things that a rule is about.
type Action uint8

const (
	Publish   Action = 1 << iota // send messages to the broker
	Subscribe                    // be sent messages
	All       = Publish | Subscribe
)

// String is the action as rules spell it.
func (a Action) String() string {
	switch a {
	case Publish:
		return "publish"
	case Subscribe:
		return "subscribe"
	case All:
		return "all"
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// Rule is one rule. User to Listener are patterns that a subject must fit, all
// of those that are not empty; with none the rule is for any subject. In a
// pattern * stands for any characters, \* for the character and \\ for a
// backslash: see [Literal]. Filters are MQTT topic filters in which %u stands
// for the user, %c for the client identifier and %% for a percent sign; \ is
// written as in patterns. See [LiteralTopic].
type Rule struct {
	Allow    bool // deny, if not
	User     string
	Group    string
	Client   string
	Cert     string // name in the client's certificate
	Listener string
	Action   Action
	Filters  []string

	File string // where the rule stands; empty for rules given in code
	Line int    // from 1; for rules given in code the rule's number
}

// Subject is a client as authentication knows it. An empty string says that
// there is none: a user name of no characters is no user name.
type Subject struct {
	User     string
	ClientID string
	Groups   []string
	CertName string // name in the certificate that the client has proven
	Listener string // name of the listener that it came by
}

// selector is one of the conditions that a rule may set for its subjects.
type selector uint8

const (
	byUser selector = iota
	byGroup
	byClient
	byCert
	byListener
	selectors
)

func (s selector) String() string {
	return [...]string{"user", "group", "client", "cert", "listener"}[s]
}

// field is where r keeps the pattern of s.
func (r *Rule) field(s selector) *string {
	return [...]*string{&r.User, &r.Group, &r.Client, &r.Cert, &r.Listener}[s]
}

// has is what sel looks at, other than groups.
func (s *Subject) has(sel selector) string {
	switch sel {
	case byUser:
		return s.User
	case byClient:
		return s.ClientID
	case byCert:
		return s.CertName
	case byListener:
		return s.Listener
	}
	return ""
}

// Where is the rule's place, as file:line.
func (r *Rule) Where() string {
	if r.File == "" {
		return "rule " + strconv.Itoa(r.Line)
	}
	return r.File + ":" + strconv.Itoa(r.Line)
}

// String is the rule as one line of a file, without the newline.
func (r *Rule) String() string {
	var b strings.Builder
	b.WriteString(effect(r.Allow))
	before := b.Len()
	for s := range selectors {
		if p := *r.field(s); p != "" {
			b.WriteString(" " + s.String() + "=" + quote(p))
		}
	}
	if b.Len() == before {
		b.WriteString(" any")
	}
	b.WriteString(" " + r.Action.String())
	for _, f := range r.Filters {
		if f == "#" && len(r.Filters) > 1 {
			b.WriteString(` "#"`) // plain, it could be taken for a comment
			continue
		}
		b.WriteString(" " + quote(f))
	}
	return b.String()
}

func effect(allow bool) string {
	if allow {
		return "allow"
	}
	return "deny"
}

// Format is rules as the text of a file. Parse makes the same rules of it.
func Format(rules []Rule) string {
	var b strings.Builder
	for i := range rules {
		b.WriteString(rules[i].String() + "\n")
	}
	return b.String()
}

// Literal is the pattern that only name fits.
func Literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`).Replace(name)
}

// LiteralTopic is name as a level of a rule's filter, or part of one, with
// nothing in it that stands for something else. There is none for names that
// are empty, hold +, # or /, or begin with $.
func LiteralTopic(name string) (string, error) {
	if fitnessOf(name) != fit {
		return "", fmt.Errorf("the name %s cannot be part of a topic: it is empty, holds +, # or /, or begins with $", inWords(name))
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `%`, `%%`).Replace(name), nil
}

// quote is word as it stands in a file.
func quote(word string) string {
	plain := word != ""
	for _, r := range word {
		if r == '"' || blank(r) || invisible(r) {
			plain = false
		}
	}
	if plain {
		return word
	}
	return `"` + strings.ReplaceAll(word, `"`, `\"`) + `"`
}
