package bridge

import (
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// alphabet is how names in NATS are made of topics, and topics of them: levels are
// tokens between dots, an empty level is the token "/", a dot in a level is "//",
// and what a token cannot have is written as a code of three bytes.
type alphabet struct {
	appendByte func(dst []byte, rest string) []byte // writes the first byte of what is left of a level, which is no dot
	coded      func(rest string) (c byte, yes bool) // reports whether what is left of a token begins with the code of a byte
}

func (a alphabet) name(topic string) string {
	return a.appendLevels(make([]byte, 0, len(topic)+8), topic, false)
}

// topic is the topic of which name makes the same. It is an error if there is none.
func (a alphabet) topic(name string) (string, error) {
	topic := make([]byte, 0, len(name))
	for i, token := range strings.Split(name, ".") {
		if i > 0 {
			topic = append(topic, '/')
		}
		if token == "/" {
			continue
		}
		for j := 0; j < len(token); j++ {
			switch c, coded := a.coded(token[j:]); {
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
	if wire.ValidTopicString(t) != nil || a.name(t) != name {
		return "", errNoTopic
	}
	return t, nil
}

// filters are the names, with wildcards, of the topics that a filter matches: two
// if it ends in /#, which matches the level above as well.
func (a alphabet) filters(filter string) []string {
	all := a.appendLevels(make([]byte, 0, len(filter)+8), filter, true)
	above, below := strings.CutSuffix(filter, "/#")
	if !below || above == "" { // no topic is empty
		return []string{all}
	}
	return []string{all, a.appendLevels(nil, above, true)}
}

func (a alphabet) appendLevels(dst []byte, topic string, wildcards bool) string {
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
			for j := range len(level) {
				if level[j] == '.' {
					dst = append(dst, '/', '/')
				} else {
					dst = a.appendByte(dst, level[j:])
				}
			}
		}
	}
	return string(dst)
}

// hexCode is the byte that two digits behind mark, with which s begins, stand for.
func hexCode(s string, mark byte) (c byte, yes bool) {
	if len(s) < 3 || s[0] != mark {
		return 0, false
	}
	high, low := strings.IndexByte(hexDigits, s[1]), strings.IndexByte(hexDigits, s[2])
	return byte(high<<4 | low), high >= 0 && low >= 0
}
