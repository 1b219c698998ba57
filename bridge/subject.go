package bridge

import (
	"errors"
	"slices"
	"strings"
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

func subjects() alphabet { return alphabet{appendSubjectByte, coded} }

// TopicSubject is the subject of a topic, which must be valid.
func TopicSubject(topic string) string { return subjects().name(topic) }

// SubjectTopic is the topic of which TopicSubject makes subject. It is an error
// if there is none.
func SubjectTopic(subject string) (string, error) { return subjects().topic(subject) }

// FilterSubjects are the subjects, with wildcards, of the topics that a filter
// matches: two if it ends in /#, which matches the level above as well.
func FilterSubjects(filter string) []string { return subjects().filters(filter) }

func appendSubjectByte(dst []byte, rest string) []byte {
	c := rest[0]
	if strings.IndexByte(escaped, c) >= 0 {
		return append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
	}
	if _, yes := coded(rest); yes {
		return append(dst, '%', '2', '5')
	}
	return append(dst, c)
}

// coded reports whether s begins with the code of an escaped byte, or of %.
func coded(s string) (c byte, yes bool) {
	c, yes = hexCode(s, '%')
	return c, yes && (c == '%' || strings.IndexByte(escaped, c) >= 0)
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

// widest are those of patterns that are not part of another, sorted.
func widest(patterns []string) []string {
	slices.Sort(patterns)
	all := slices.Compact(patterns)
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return other != s && subjectMatches(other, s) })
	})
}
