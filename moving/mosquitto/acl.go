package mosquitto

import "strings"

// Access is what a line of an ACL file allows.
type Access uint8

// What lines allow. Deny is for both ways.
const (
	Read Access = 1 << iota
	Write
	Deny      Access = 0
	ReadWrite        = Read | Write
)

// ACLLine is a line of an ACL file that is neither empty nor a comment.
type ACLLine struct {
	Number int
	Text   string

	Rule    bool   // a topic or a pattern, else the beginning of a user's part
	Pattern bool   // with %c and %u, and for everybody
	Named   bool   // for User, else for clients without a user name; not for patterns
	User    string // whose part this is
	Access  Access
	Topic   string // a topic filter

	Problem string // why mosquitto does not start with such a line; then nothing else counts
}

// ParseACL is the lines of an ACL file. mosquitto tries those of Deny before
// others: first the lines of the client's user name, then, if none of them fits,
// the patterns. What no line allows is denied.
func ParseACL(data []byte) (lines []ACLLine) {
	named, user := false, ""
	for n, text := range textLines(data) {
		text = strings.TrimRight(text, blanks)
		if text == "" || text[0] == '#' {
			continue
		}
		word, rest := nextWord(text)
		if word == "" {
			continue
		}
		l := ACLLine{Number: n, Text: text}
		switch word {
		case "user":
			if rest = strings.Trim(rest, blanks); rest == "" {
				l.Problem = "names no user"
				break
			}
			named, user = true, rest
			l.Named, l.User = named, user
		case "topic", "pattern":
			l.Rule, l.Pattern = true, word == "pattern"
			if !l.Pattern {
				l.Named, l.User = named, user
			}
			l.Access, l.Topic, l.Problem = topicOf(rest)
		default:
			l.Problem = "does not begin with topic, pattern or user"
		}
		lines = append(lines, l)
	}
	return lines
}

// nextWord cuts the first word off text, and the space behind it.
func nextWord(text string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	return word, rest
}

func topicOf(text string) (access Access, topic, problem string) {
	word, rest := nextWord(text)
	switch {
	case word == "":
		return Deny, "", "names no topic"
	case rest == "":
		access, topic = ReadWrite, word
	default:
		topic = strings.Trim(rest, blanks)
		switch word {
		case "read":
			access = Read
		case "write":
			access = Write
		case "readwrite":
			access = ReadWrite
		case "deny":
			access = Deny
		default:
			return Deny, "", "has a topic with a space, which needs read, write, readwrite or deny before it"
		}
	}
	if topic == "" || !validFilter(topic) {
		return Deny, "", "has no topic filter: + stands for a whole level, # for the last ones"
	}
	return access, topic, ""
}

// validFilter reports whether wildcards stand where they may.
func validFilter(topic string) bool {
	levels := strings.Split(topic, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && l != "+" && (l != "#" || i < len(levels)-1) {
			return false
		}
	}
	return len(topic) <= 65535
}
