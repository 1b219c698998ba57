package bridge

import (
	"errors"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// Topics and subjects are called on both sides as in the MQTT of nats-server:
// levels are tokens, an empty level is the token "/", and a dot in a level is
// "//". What cannot be in a token is written as % and two digits, which the
// MQTT of nats-server refuses or takes for a wildcard; a % stays as it is
// unless it would be read as one of these.

// escaped are the bytes of a topic that are written as % and their code.
const escaped = " \t\n\r\f\x7f*>"

const hexDigits = "0123456789ABCDEF"

var errNoTopic = errors.New("no topic is called so")

// TopicSubject is the subject of a topic, which must be valid.
func TopicSubject(topic string) string {
	return appendLevels(make([]byte, 0, len(topic)+8), topic, false)
}

// SubjectTopic is the topic of which TopicSubject makes subject. It is an error
// if there is none.
func SubjectTopic(subject string) (string, error) {
	topic := make([]byte, 0, len(subject))
	for i, token := range strings.Split(subject, ".") {
		if i > 0 {
			topic = append(topic, '/')
		}
		if token == "/" {
			continue
		}
		for j := 0; j < len(token); j++ {
			switch c, coded := coded(token[j:]); {
			case coded:
				topic = append(topic, c)
				j += 2
			case token[j] == '/':
				topic = append(topic, '.')
				j++
			default:
				topic = append(topic, token[j])
			}
		}
	}
	t := string(topic)
	if wire.ValidTopicString(t) != nil || TopicSubject(t) != subject {
		return "", errNoTopic
	}
	return t, nil
}

// FilterSubjects are the subjects, with wildcards, of the topics that a filter
// matches: two if it ends in /#, which matches the level above as well.
func FilterSubjects(filter string) []string {
	all := appendLevels(make([]byte, 0, len(filter)+8), filter, true)
	above, below := strings.CutSuffix(filter, "/#")
	if !below || above == "" { // no topic is empty
		return []string{all}
	}
	return []string{all, appendLevels(nil, above, true)}
}

func appendLevels(dst []byte, topic string, wildcards bool) string {
	for i, level := range strings.Split(topic, "/") {
		if i > 0 {
			dst = append(dst, '.')
		}
		switch {
		case level == "":
			dst = append(dst, '/')
		case wildcards && level == "+":
			dst = append(dst, '*')
		case wildcards && level == "#":
			dst = append(dst, '>')
		default:
			dst = appendToken(dst, level)
		}
	}
	return string(dst)
}

func appendToken(dst []byte, level string) []byte {
	for i := 0; i < len(level); i++ {
		switch c := level[i]; {
		case c == '.':
			dst = append(dst, '/', '/')
		case strings.IndexByte(escaped, c) >= 0:
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		default:
			if _, yes := coded(level[i:]); yes {
				dst = append(dst, '%', '2', '5')
				continue
			}
			dst = append(dst, c)
		}
	}
	return dst
}

// coded reports whether s begins with the code of an escaped byte, or of %.
func coded(s string) (c byte, yes bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, low := strings.IndexByte(hexDigits, s[1]), strings.IndexByte(hexDigits, s[2])
	if high < 0 || low < 0 {
		return 0, false
	}
	c = byte(high<<4 | low)
	return c, c == '%' || strings.IndexByte(escaped, c) >= 0
}

// subjectMatches reports whether the subjects that pattern, which may have
// wildcards, stands for include all those of subject, which may have some too.
func subjectMatches(pattern, subject string) bool {
	ps, ss := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, p := range ps {
		switch {
		case p == ">":
			return len(ss) > i
		case i >= len(ss), ss[i] == ">":
			return false
		case p != "*" && p != ss[i]:
			return false
		}
	}
	return len(ps) == len(ss)
}

// subjectsOverlap reports whether two subjects with wildcards have one in
// common.
func subjectsOverlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(as) && i < len(bs); i++ {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != "*" && bs[i] != "*" && as[i] != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}
