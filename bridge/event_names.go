package bridge

import (
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// EventNames is how an uplink in event mode calls topics: the NAME in
// topic.NAME. Each topic has a name of its own, and becomes itself again.
type EventNames string

// The ways to call topics.
const (
	NoEvents    EventNames = ""       // no event mode
	LevelNames  EventNames = "levels" // as TopicSubject does: a level is a token
	SingleNames EventNames = "whole"  // the topic itself, all of it one token
)

// eventSubject begins the subjects of messages in event mode.
const eventSubject = "topic."

// subject is the subject of a topic, which must be valid.
func (n EventNames) subject(topic string) string {
	switch n {
	case LevelNames:
		return eventSubject + TopicSubject(topic)
	case SingleNames:
		return eventSubject + wholeName(topic)
	}
	return TopicSubject(topic)
}

// topic is the topic of which subject makes s.
func (n EventNames) topic(s string) (string, error) {
	name, events := strings.CutPrefix(s, eventSubject)
	switch {
	case n == NoEvents:
		return SubjectTopic(s)
	case !events:
		return "", errNoTopic
	case n == LevelNames:
		return SubjectTopic(name)
	}
	return wholeTopic(name)
}

// subjects are the subjects, with wildcards, of the topics that a filter matches,
// and perhaps of others.
func (n EventNames) subjects(filter string) []string {
	switch n {
	case LevelNames:
		list := FilterSubjects(filter)
		for i := range list {
			list[i] = eventSubject + list[i]
		}
		return list
	case SingleNames:
		if wire.ValidTopicString(filter) != nil { // it has wildcards, which tokens have not
			return []string{eventSubject + "*"}
		}
		return []string{eventSubject + wholeName(filter)}
	}
	return FilterSubjects(filter)
}

// wholeName is a topic as one token: a dot is %2E, and the rest as in levels.
func wholeName(topic string) string {
	dst := make([]byte, 0, len(topic)+8)
	for i := 0; i < len(topic); i++ {
		switch c := topic[i]; {
		case c == '.' || strings.IndexByte(escaped, c) >= 0:
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		default:
			if _, yes := codedWhole(topic[i:]); yes {
				dst = append(dst, '%', '2', '5')
				continue
			}
			dst = append(dst, c)
		}
	}
	return string(dst)
}

// wholeTopic is the topic of which wholeName makes name.
func wholeTopic(name string) (string, error) {
	topic := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		if c, yes := codedWhole(name[i:]); yes {
			topic = append(topic, c)
			i += 2
			continue
		}
		topic = append(topic, name[i])
	}
	t := string(topic)
	if wire.ValidTopicString(t) != nil || wholeName(t) != name {
		return "", errNoTopic
	}
	return t, nil
}

// codedWhole is coded, for names that are one token.
func codedWhole(s string) (c byte, yes bool) {
	if len(s) >= 3 && s[:3] == "%2E" {
		return '.', true
	}
	return coded(s)
}
