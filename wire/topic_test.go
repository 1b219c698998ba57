package wire_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

func TestValidTopic(t *testing.T) {
	long := strings.Repeat("x", 65535)
	for _, topic := range []string{
		"a", "/", "//", "a/b/c", "$SYS/broker", " ", "with space", "ünï/kødé/😀", "\ufeffbom", "\x01\x1f\x7f", long,
		"1234567", "12345678", "123456789",
	} {
		if err := wire.ValidTopic([]byte(topic)); err != nil {
			t.Errorf("ValidTopic(%.20q) = %v", topic, err)
		}
		if err := wire.ValidTopicString(topic); err != nil {
			t.Errorf("ValidTopicString(%.20q) = %v", topic, err)
		}
	}
	for _, c := range []struct {
		topic  string
		reason wire.Reason
		cite   string
	}{
		{"", wire.TopicNameInvalid, "[MQTT-4.7.3-1]"},
		{long + "x", wire.TopicNameInvalid, "[MQTT-4.7.3-3]"},
		{"+", wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"a/b/c/d/e/#", wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"abcdefgh+", wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"ü#", wire.TopicNameInvalid, "[MQTT-3.3.2-2]"},
		{"a\x00", wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"abcdefg\x00hij", wire.MalformedPacket, "[MQTT-1.5.4-2]"},
		{"\xed\xa0\x80", wire.MalformedPacket, "[MQTT-1.5.4-1]"},     // U+D800
		{"\xed\xbf\xbf", wire.MalformedPacket, "[MQTT-1.5.4-1]"},     // U+DFFF
		{"\xc0\x80", wire.MalformedPacket, "[MQTT-1.5.4-1]"},         // overlong U+0000
		{"\xf4\x90\x80\x80", wire.MalformedPacket, "[MQTT-1.5.4-1]"}, // above U+10FFFF
		{"ok\xc3", wire.MalformedPacket, "[MQTT-1.5.4-1]"},
	} {
		checkError(t, wire.ValidTopic([]byte(c.topic)), c.reason, c.cite)
		checkError(t, wire.ValidTopicString(c.topic), c.reason, c.cite)
	}
}

// Each byte that matters, at each place of strings of each length around the
// eight bytes that are looked at together.
func TestStringsByteByByte(t *testing.T) {
	for n := 1; n <= 25; n++ {
		for at := range n {
			for _, c := range []byte{0, 1, '"', '#', '$', '*', '+', ',', 0x7F, 0x80, 0xA3, 0xAB, 0xFF} {
				b := bytes.Repeat([]byte("x"), n)
				b[at] = c
				text := c > 0 && c < 0x80
				if err := wire.ValidTopic(b); (err == nil) != (text && c != '+' && c != '#') {
					t.Errorf("ValidTopic(%q) = %v", b, err)
				}
				_, err := wire.DecodeUnsubscribe(scan(t, packet(0xA2, 0, 1, str(b))), wire.V311)
				if (err == nil) != text {
					t.Errorf("UNSUBSCRIBE of %q = %v", b, err)
				}
			}
		}
	}
}

// ValidTopic looks at eight bytes at once; this looks at one.
func TestValidTopicAgainstPlainModel(t *testing.T) {
	// Bytes next to the special ones, so that borrows between bytes show.
	odd := rapid.SampledFrom([]byte{0, 1, '"', '#', '$', '*', '+', ',', 0x7F, 0x80, 0xA3, 0xAB, 0xC3, 0xFF})
	plain := rapid.SampledFrom([]byte("abc/$_\x01\x7f!\"$*,-"))
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(plain, 1, 40).Draw(t, "topic")
		for range rapid.IntRange(0, 2).Draw(t, "faults") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = odd.Draw(t, "byte")
		}
		want := utf8.Valid(b) && !bytes.ContainsAny(b, "\x00+#")
		if err := wire.ValidTopic(b); (err == nil) != want {
			t.Fatalf("ValidTopic(%q) = %v, want valid %v", b, err, want)
		}
		// The same bytes as a string that is not a topic.
		want = utf8.Valid(b) && !bytes.Contains(b, []byte{0})
		_, err := wire.DecodeUnsubscribe(scan(t, packet(0xA2, 0, 1, str(b))), wire.V311)
		if (err == nil) != want {
			t.Fatalf("UNSUBSCRIBE of %q = %v, want valid %v", b, err, want)
		}
	})
}

func TestValidFilter(t *testing.T) {
	for _, s := range []string{
		"a", "/", "#", "+", "+/+", "/+", "+/", "+/#", "a/#", "/#", "a/+/b", "$SYS/#", "$share", "$shared/+", "$share/g/f",
		"$share/g/#", "$share/g/+/a", "$share/g//", "$share/g//a", "$share/ü/a", "\ufeff", strings.Repeat("x", 65535),
	} {
		if err := wire.ValidFilter(s); err != nil {
			t.Errorf("ValidFilter(%.20q) = %v", s, err)
		}
	}
	for _, c := range []struct{ filter, cite string }{
		{"", "[MQTT-4.7.3-1]"},
		{strings.Repeat("x", 65536), "[MQTT-4.7.3-3]"},
		{"a\x00", "[MQTT-4.7.3-2]"},
		{"a\xff", "[MQTT-1.5.4-1]"},
		{"a#", "[MQTT-4.7.1-1]"},
		{"a/#/b", "[MQTT-4.7.1-1]"},
		{"#/", "[MQTT-4.7.1-1]"},
		{"##", "[MQTT-4.7.1-1]"},
		{"+#", "[MQTT-4.7.1-2]"},
		{"a+", "[MQTT-4.7.1-2]"},
		{"+a", "[MQTT-4.7.1-2]"},
		{"a/+b/c", "[MQTT-4.7.1-2]"},
		{"++", "[MQTT-4.7.1-2]"},
		{"$share/", "[MQTT-4.8.2-1]"},
		{"$share//a", "[MQTT-4.8.2-1]"},
		{"$share/g", "[MQTT-4.8.2-2]"},
		{"$share/g/", "[MQTT-4.8.2-2]"},
		{"$share/+/a", "[MQTT-4.8.2-2]"},
		{"$share/g#/a", "[MQTT-4.8.2-2]"},
		{"$share/g/a#", "[MQTT-4.7.1-1]"},
		{"$share/g/a+", "[MQTT-4.7.1-2]"},
	} {
		t.Run(c.filter[:min(len(c.filter), 12)], func(t *testing.T) {
			checkError(t, wire.ValidFilter(c.filter), wire.TopicFilterInvalid, c.cite)
		})
	}
}

func TestSplitShare(t *testing.T) {
	for _, c := range []struct {
		s, group, filter string
		shared           bool
	}{
		{"$share/g/a/b", "g", "a/b", true},
		{"$share/g//", "g", "/", true},
		{"a/b", "", "a/b", false},
		{"$share", "", "$share", false},
		{"$share/g", "", "$share/g", false},
		{"$share//a", "", "$share//a", false},
		{"$share/g/", "", "$share/g/", false},
		{"$shared/g/a", "", "$shared/g/a", false},
	} {
		group, filter, shared := wire.SplitShare(c.s)
		if group != c.group || filter != c.filter || shared != c.shared {
			t.Errorf("SplitShare(%q) = %q, %q, %v", c.s, group, filter, shared)
		}
	}
}

func TestMatchTopic(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		// The examples of section 4.7.1.
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"#", "a/b", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		// [MQTT-4.7.2-1]
		{"#", "$SYS/a", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"+", "$SYS", false},
		{"$SYS/#", "$SYS/monitor/Clients", true},
		{"$SYS/#", "$SYS", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"a/#", "a/$b", true},
		{"+/+", "a/$b", true},
		// Section 4.7.3: case and slashes count.
		{"ACCOUNTS", "Accounts", false},
		{"/finance", "finance", false},
		{"finance", "/finance", false},
		// What others get wrong.
		{"a/#", "a", true},
		{"+/#", "zz", true},
		{"a/#", "ab", false},
		{"a/b", "a/bc", false},
		{"a/bc", "a/b", false},
		{"a/", "a", false},
		{"a", "a/", false},
		{"a/", "a/", true},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"a/+/b", "a/b", false},
		{"#", "/", true},
		{"/#", "/", true},
		{"/", "/", true},
		{"+/+", "/", true},
		{"a/+/#", "a", false},
		{"a/+/#", "a/b", true},
		// Not valid, so they match nothing.
		{"", "a", false},
		{"a", "", false},
		{"#", "", false},
		{"a#", "a", false},
		{"a#", "ab", false},
		{"a+", "ab", false},
		{"+a", "ba", false},
		{"#/a", "b/a", false},
	} {
		if got := wire.MatchTopic(c.filter, c.topic); got != c.want {
			t.Errorf("MatchTopic(%q, %q) = %v", c.filter, c.topic, got)
		}
	}
}

// matchModel is section 4.7 as a regular expression.
func matchModel(filter, topic string) bool {
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	if filter == "#" {
		return true
	}
	filter, all := strings.CutSuffix(filter, "/#")
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if l == "+" {
			levels[i] = "[^/]*"
		} else {
			levels[i] = regexp.QuoteMeta(l)
		}
	}
	pattern := "(?s)^" + strings.Join(levels, "/")
	if all {
		pattern += "(/.*)?"
	}
	return regexp.MustCompile(pattern + "$").MatchString(topic)
}

func TestMatchTopicAgainstModel(t *testing.T) {
	level := rapid.SampledFrom([]string{"", "a", "b", "ab", "$", "$SYS", "."})
	change := rapid.SampledFrom([]string{"keep", "keep", "keep", "+", "other"})
	matches, misses := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(level, 1, 5).Draw(t, "topic")
		topic := strings.Join(levels, "/")
		// The filter is the topic with some levels changed, cut or added.
		filters := append([]string{}, levels...)
		for i := range filters {
			switch change.Draw(t, "change") {
			case "+":
				filters[i] = "+"
			case "other":
				filters[i] = level.Draw(t, "level")
			}
		}
		switch rapid.SampledFrom([]string{"as is", "as is", "#", "cut", "cut #", "more"}).Draw(t, "end") {
		case "#":
			filters = append(filters, "#")
		case "cut":
			filters = filters[:rapid.IntRange(0, len(filters)).Draw(t, "kept")]
		case "cut #":
			filters = append(filters[:rapid.IntRange(0, len(filters)).Draw(t, "kept")], "#")
		case "more":
			filters = append(filters, level.Draw(t, "more"))
		}
		filter := strings.Join(filters, "/")
		if filter == "" || topic == "" {
			return
		}
		want := matchModel(filter, topic)
		if got := wire.MatchTopic(filter, topic); got != want {
			t.Fatalf("MatchTopic(%q, %q) = %v", filter, topic, got)
		}
		if want {
			matches++
		} else {
			misses++
		}
	})
	if matches == 0 || misses == 0 {
		t.Errorf("%d pairs match, %d do not: the generators are blind", matches, misses)
	}
}
