package bridge

import (
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// Topics and keys of a bucket are called like topics and subjects, but for what
// keys cannot have: they are letters, digits, and - / _ = and dots between
// levels. All other bytes of a level, and =, are written as = and two digits; a
// dot is "//" and an empty level "/", as in subjects.

// TopicKey is the key of a topic, which must be valid. Each topic has one of its
// own.
func TopicKey(topic string) string {
	return string(appendKey(make([]byte, 0, len(topic)+8), topic, false))
}

// KeyTopic is the topic of which TopicKey makes key. It is an error if there is
// none.
func KeyTopic(key string) (string, error) {
	topic := make([]byte, 0, len(key))
	for i, token := range strings.Split(key, ".") {
		if i > 0 {
			topic = append(topic, '/')
		}
		if token == "/" {
			continue
		}
		for j := 0; j < len(token); j++ {
			switch c, coded := keyCode(token[j:]); {
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
	if wire.ValidTopicString(t) != nil || TopicKey(t) != key {
		return "", errNoTopic
	}
	return t, nil
}

// filterKeys are the keys, with wildcards, of the topics that a filter matches.
func filterKeys(filter string) []string {
	all := string(appendKey(make([]byte, 0, len(filter)+8), filter, true))
	above, below := strings.CutSuffix(filter, "/#")
	if !below || above == "" {
		return []string{all}
	}
	return []string{all, string(appendKey(nil, above, true))}
}

// widest are those of patterns that are not part of another, sorted.
func widest(patterns []string) []string {
	slices.Sort(patterns)
	all := slices.Compact(patterns)
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return other != s && subjectMatches(other, s) })
	})
}

func appendKey(dst []byte, topic string, wildcards bool) []byte {
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
			dst = appendKeyLevel(dst, level)
		}
	}
	return dst
}

func appendKeyLevel(dst []byte, level string) []byte {
	for i := 0; i < len(level); i++ {
		switch c := level[i]; {
		case c == '.':
			dst = append(dst, '/', '/')
		case c == '-', c == '_', c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			dst = append(dst, c)
		default:
			dst = append(dst, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}

// keyCode reports whether s begins with the code of a byte.
func keyCode(s string) (c byte, yes bool) {
	if len(s) < 3 || s[0] != '=' {
		return 0, false
	}
	high, low := strings.IndexByte(hexDigits, s[1]), strings.IndexByte(hexDigits, s[2])
	return byte(high<<4 | low), high >= 0 && low >= 0
}
