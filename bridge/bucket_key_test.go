package bridge

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/wire"
)

// validKey is what nats.go takes for a key; the server refuses a subject with an
// empty token besides.
var validKey = regexp.MustCompile(`^[-/_=\.a-zA-Z0-9]+$`)

func TestTopicKey(t *testing.T) {
	for _, c := range []struct{ topic, key string }{
		{"plant/1/temp", "plant.1.temp"},
		{"plant//temp", "plant./.temp"},
		{"/plant", "/.plant"},
		{"plant/", "plant./"},
		{"/", "/./"},
		{"v1.2/x", "v1//2.x"},
		{".", "//"},
		{"./.", "//.//"},
		{"hall 3/é", "hall=203.=C3=A9"},
		{"a=b/=3D", "a=3Db.=3D3D"},
		{"50%/$x/a>b", "50=25.=24x.a=3Eb"},
	} {
		if got := TopicKey(c.topic); got != c.key {
			t.Errorf("%q: got key %q; want %q", c.topic, got, c.key)
		}
		if got, err := KeyTopic(c.key); err != nil || got != c.topic {
			t.Errorf("%q: got topic %q, %v; want %q", c.key, got, err, c.topic)
		}
	}
	for _, key := range []string{"", "a..b", "a/b", "=", "=3", "=3d", "=41", "a=2F", "///", ".", "a.", "=2E", "=00", "=2B", "=23", "=C3"} {
		if topic, err := KeyTopic(key); err == nil {
			t.Errorf("%q is called %q", key, topic)
		}
	}
}

// Each topic has a key, which keys may be, and which is no other topic's.
func TestTopicKeyReverses(t *testing.T) {
	piece := rapid.SampledFrom([]string{"", "a", "B", "7", ".", "=", "/", "-", "_", "%", "*", ">", " ", "=41", "=2F", "é", "\x7f", "$", "世", "\U0010FFFD"})
	rapid.Check(t, func(t *rapid.T) {
		topic := strings.Join(rapid.SliceOfN(piece, 1, 12).Draw(t, "pieces"), "")
		if wire.ValidTopicString(topic) != nil {
			t.Skip("no topic")
		}
		key := TopicKey(topic)
		if !validKey.MatchString(key) || strings.HasPrefix(key, ".") || strings.HasSuffix(key, ".") || strings.Contains(key, "..") {
			t.Fatalf("%q is no key", key)
		}
		if got, err := KeyTopic(key); err != nil || got != topic {
			t.Fatalf("%q became %q, which is %q, %v", topic, key, got, err)
		}
	})
}

// What is a key of no topic is said to be; what has a topic is its only key.
func TestKeyTopicReverses(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "Z", "0", ".", "/", "//", "=", "=3D", "=41", "=2e", "=2E", "-", "_", "=00", "=C3=A9", "=FF"})
	rapid.Check(t, func(t *rapid.T) {
		key := strings.Join(rapid.SliceOfN(piece, 1, 8).Draw(t, "pieces"), "")
		topic, err := KeyTopic(key)
		if err == nil && TopicKey(topic) != key {
			t.Fatalf("%q is %q, whose key is %q", key, topic, TopicKey(topic))
		}
	})
}

// The keys of a filter are those of the topics that it matches.
func TestFilterKeys(t *testing.T) {
	level := rapid.SampledFrom([]string{"", "a", "b", "a.b", "é"})
	pattern := rapid.SampledFrom([]string{"", "a", "b", "+", "a.b"})
	rapid.Check(t, func(t *rapid.T) {
		topic := strings.Join(rapid.SliceOfN(level, 1, 4).Draw(t, "topic"), "/")
		filter := strings.Join(rapid.SliceOfN(pattern, 1, 4).Draw(t, "filter"), "/")
		if rapid.Bool().Draw(t, "below") {
			filter = strings.TrimPrefix(filter+"/#", "/")
		}
		if topic == "" || wire.ValidFilter(filter) != nil {
			t.Skip("no topic, or no filter")
		}
		if got, want := covers(filterKeys(filter), TopicKey(topic)), wire.MatchTopic(filter, topic); got != want {
			t.Fatalf("%q finds %q: %v by keys %q, and %v by topics", filter, topic, got, filterKeys(filter), want)
		}
	})
}
