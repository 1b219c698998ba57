package wire

import (
	"strings"
	"unicode/utf8"
)

const maxString = 65535 // bytes, [MQTT-4.7.3-3]

const sharePrefix = "$share/"

// ValidTopic checks a topic name: 1 to 65535 bytes of UTF-8 without U+0000
// and wildcards. The error is an *Error: MalformedPacket for bad UTF-8, else
// TopicNameInvalid.
func ValidTopic(b []byte) error {
	if e := topicError(b, "topic name", "[MQTT-3.3.2-2]"); e != nil {
		return e
	}
	return nil
}

// ValidTopicString is [ValidTopic] for a string.
func ValidTopicString(s string) error {
	if len(s) > maxString {
		return topicTooLong()
	}
	return ValidTopic([]byte(s))
}

func topicTooLong() *Error {
	return &Error{TopicNameInvalid, "[MQTT-4.7.3-3]", "topic name is longer than 65535 bytes"}
}

// topicError checks a topic name; wildcards is the rule that forbids them.
func topicError(b []byte, what, wildcards string) *Error {
	if len(b) == 0 {
		return &Error{TopicNameInvalid, "[MQTT-4.7.3-1]", what + " is empty"}
	}
	if len(b) > maxString {
		return topicTooLong()
	}
	switch f := checkTopic(b); f {
	case sound:
		return nil
	case holdsWildcard:
		return &Error{TopicNameInvalid, wildcards, what + " holds a wildcard"}
	default:
		return textError(f, what)
	}
}

// ValidFilter checks a topic filter, also of the form $share/{name}/{filter}.
// The error is an *Error with reason TopicFilterInvalid.
func ValidFilter(s string) error {
	if e := filterError(s); e != nil {
		return e
	}
	return nil
}

func filterError(s string) *Error {
	switch {
	case s == "":
		return badFilter("[MQTT-4.7.3-1]", "topic filter is empty")
	case len(s) > maxString:
		return badFilter("[MQTT-4.7.3-3]", "topic filter is longer than 65535 bytes")
	case strings.IndexByte(s, 0) >= 0:
		return badFilter("[MQTT-4.7.3-2]", "topic filter holds U+0000")
	case !utf8.ValidString(s):
		return badFilter("[MQTT-1.5.4-1]", "topic filter is not valid UTF-8")
	}
	if rest, shared := strings.CutPrefix(s, sharePrefix); shared {
		group, filter, found := strings.Cut(rest, "/")
		switch {
		case group == "":
			return badFilter("[MQTT-4.8.2-1]", "share name is empty")
		case strings.ContainsAny(group, "+#"):
			return badFilter("[MQTT-4.8.2-2]", "share name holds a wildcard")
		case !found || filter == "":
			return badFilter("[MQTT-4.8.2-2]", "shared subscription has no topic filter")
		}
		s = filter
	}
	for i := range len(s) {
		alone := i == 0 || s[i-1] == '/'
		switch s[i] {
		case '#':
			if !alone || i != len(s)-1 {
				return badFilter("[MQTT-4.7.1-1]", "# is not the whole last level")
			}
		case '+':
			if !alone || i+1 < len(s) && s[i+1] != '/' {
				return badFilter("[MQTT-4.7.1-2]", "+ is not a whole level")
			}
		}
	}
	return nil
}

func badFilter(rule, detail string) *Error {
	return &Error{Reason: TopicFilterInvalid, Rule: rule, Detail: detail}
}

// SplitShare takes a shared subscription $share/{group}/{filter} apart. Any
// other filter, also an ill-formed $share, comes back whole with shared false:
// ask ValidFilter first.
func SplitShare(s string) (group, filter string, shared bool) {
	rest, ok := strings.CutPrefix(s, sharePrefix)
	if !ok {
		return "", s, false
	}
	group, filter, ok = strings.Cut(rest, "/")
	if !ok || group == "" || filter == "" {
		return "", s, false
	}
	return group, filter, true
}

// MatchTopic reports whether filter, a valid filter without $share/{name}/,
// covers the topic name. Filters that start with a wildcard do not cover
// topics that start with $. [MQTT-4.7.2-1] An invalid filter or an empty
// string matches nothing it should not: misplaced wildcards are plain text.
func MatchTopic(filter, topic string) bool {
	if filter == "" || topic == "" {
		return false
	}
	if topic[0] == '$' && (filter[0] == '#' || filter[0] == '+') {
		return false
	}
	for {
		// filter and topic both stand at the start of a level.
		if filter == "#" {
			return true
		}
		if filter != "" && filter[0] == '+' && (len(filter) == 1 || filter[1] == '/') {
			filter = filter[1:]
			if i := strings.IndexByte(topic, '/'); i >= 0 {
				topic = topic[i:]
			} else {
				topic = ""
			}
		} else {
			i := 0
			for i < len(filter) && i < len(topic) && filter[i] == topic[i] && filter[i] != '/' {
				i++
			}
			filter, topic = filter[i:], topic[i:]
		}
		// Both must stand at the end of a level now.
		switch {
		case topic == "":
			return filter == "" || filter == "/#" // the parent level
		case filter == "" || filter[0] != '/' || topic[0] != '/':
			return false
		}
		filter, topic = filter[1:], topic[1:]
	}
}
