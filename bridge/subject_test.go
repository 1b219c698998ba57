package bridge_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// known are topics and their subjects, the first of them as nats-server has it.
var known = []struct{ topic, subject string }{
	{"foo", "foo"},
	{"foo/bar", "foo.bar"},
	{"/", "/./"},
	{"//", "/././"},
	{"///", "/./././"},
	{"/foo", "/.foo"},
	{"foo/", "foo./"},
	{"/foo/", "/.foo./"},
	{"foo//bar", "foo./.bar"},
	{"foo///bar", "foo././.bar"},
	{"foo//", "foo././"},
	{"//foo", "/./.foo"},
	{"foo.bar", "foo//bar"},
	{".", "//"},
	{"..", "////"},
	{"./a", "//.a"},
	{"a/.", "a.//"},
	{"a/./.b", "a.//.//b"},
	{".//a", "//./.a"},
	{"50%", "50%"},
	{"%41%2g", "%41%2g"},
	{"grün/日本", "grün.日本"},
}

// ours are those that nats-server refuses or takes for wildcards.
var ours = []struct{ topic, subject string }{
	{"a b", "a%20b"},
	{" / ", "%20.%20"},
	{"*", "%2A"},
	{"a/>/b*", "a.%3E.b%2A"},
	{"tab\there", "tab%09here"},
	{"\r\n\f\x7f", "%0D%0A%0C%7F"},
	{"%20", "%2520"},
	{"%25", "%2525"},
	{"%2525", "%252525"},
	{"%%20", "%%2520"},
	{"%2a", "%2a"},
}

func TestTopicSubject(t *testing.T) {
	for _, c := range append(known, ours...) {
		if got := bridge.TopicSubject(c.topic); got != c.subject {
			t.Errorf("%q became %q; want %q", c.topic, got, c.subject)
		}
		if got, err := bridge.SubjectTopic(c.subject); err != nil || got != c.topic {
			t.Errorf("%q became %q, %v; want %q", c.subject, got, err, c.topic)
		}
	}
	for _, subject := range []string{"", ".", "a..b", "a.", ".a", "a/b", "a.b/", "///", "a b", "*", "a.>", "%2520 ", "a+", "#", "a\x00", "a\xff", "%3e%3E/"} {
		if got, err := bridge.SubjectTopic(subject); err == nil {
			t.Errorf("%q became %q; no topic is called so", subject, got)
		}
	}
}

// The MQTT of nats-server says what topics and subjects are called; so do we.
func TestTopicSubjectOfNATSServer(t *testing.T) {
	o := &server.Options{ServerName: "s", Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir()}
	o.MQTT.Host, o.MQTT.Port = "127.0.0.1", -1
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(brokertest.Patience) {
		t.Fatal("the NATS server does not come up")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	c := brokertest.Dial(t, fmt.Sprintf("127.0.0.1:%d", o.MQTT.Port), brokertest.Clean(wire.V311, "c")).AutoAck()
	for _, k := range known {
		c.Publish(k.topic, k.topic, 0, false)
		for {
			m, err := sub.NextMsg(brokertest.Patience)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject[0] == '$' {
				continue // its own
			}
			if m.Subject != k.subject || string(m.Data) != k.topic {
				t.Errorf("nats-server makes %q of %q; want %q", m.Subject, m.Data, k.subject)
			}
			break
		}
	}
	for _, filter := range []string{"up/#", "down/+/x", "a.b/#", "//+/#"} {
		c := brokertest.Dial(t, fmt.Sprintf("127.0.0.1:%d", o.MQTT.Port), brokertest.Clean(wire.V311, "sub"))
		c.Subscribe(0, filter)
		for _, topic := range []string{"up", "up/1", "up/1/2", "upper", "down/1/x", "down//x", "down/x", "a.b", "a.b/c", "a/b", "//1", "//1/2", "//"} {
			subject, found := bridge.TopicSubject(topic), false
			for _, s := range bridge.FilterSubjects(filter) {
				found = found || natsMatches(s, subject)
			}
			if found != wire.MatchTopic(filter, topic) {
				t.Errorf("%s and %s: %v by subjects", filter, topic, found)
			}
			if err := nc.Publish(subject, []byte(topic)); err != nil {
				t.Fatal(err)
			}
			if found {
				c.ExpectMessage(topic, topic)
			}
		}
		if err := nc.Flush(); err != nil { // else what nobody is to get yet may come by the next subscription
			t.Fatal(err)
		}
		c.ExpectNothing()
		c.Disconnect()
	}
}

// natsMatches is what NATS says of a subject with wildcards.
func natsMatches(pattern, subject string) bool {
	ps, ss := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i := range ss {
		switch {
		case i < len(ps) && ps[i] == ">":
			return true
		case i >= len(ps), ps[i] != "*" && ps[i] != ss[i]:
			return false
		}
	}
	return len(ps) == len(ss)
}

func topics() *rapid.Generator[string] {
	level := rapid.StringOfN(rapid.RuneFrom([]rune("ab./%250AEF*> \t\n\x7fé$")), 0, 12, -1)
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(level, 1, 5).Draw(t, "levels"), "/")
	}).Filter(func(s string) bool { return s != "" })
}

func checkTopic(t interface {
	Helper()
	Fatalf(string, ...any)
}, topic string) {
	t.Helper()
	subject := bridge.TopicSubject(topic)
	if strings.ContainsAny(subject, " \t\r\n\f\x7f*>") || strings.HasPrefix(subject, ".") || strings.HasSuffix(subject, ".") || strings.Contains(subject, "..") {
		t.Fatalf("%q became %q, which is no subject to publish on", topic, subject)
	}
	if got, err := bridge.SubjectTopic(subject); err != nil || got != topic {
		t.Fatalf("%q became %q and that %q, %v", topic, subject, got, err)
	}
	if strings.Count(topic, "/") != strings.Count(subject, ".") {
		t.Fatalf("%q became %q, which has other levels", topic, subject)
	}
}

func TestTopicSubjectReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkTopic(t, topics().Draw(t, "topic")) })
}

// Different topics have different subjects, and a subject that has a topic is
// the subject of that topic.
func TestSubjectTopicReversible(t *testing.T) {
	subjects := rapid.StringOfN(rapid.RuneFrom([]rune("ab./%250AEF*> é+#")), 0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		subject := subjects.Draw(t, "subject")
		if topic, err := bridge.SubjectTopic(subject); err == nil && bridge.TopicSubject(topic) != subject {
			t.Fatalf("%q became %q and that %q", subject, topic, bridge.TopicSubject(topic))
		}
		a, b := topics().Draw(t, "a"), topics().Draw(t, "b")
		if (a == b) != (bridge.TopicSubject(a) == bridge.TopicSubject(b)) {
			t.Fatalf("%q and %q are both %q", a, b, bridge.TopicSubject(a))
		}
	})
}

// A filter and its subjects match the same topics.
func TestFilterSubjects(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "", "a.b", " ", "*", "+", "+"})
	name := rapid.SampledFrom([]string{"a", "b", "", "a.b", " ", "*"})
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(level, 1, 4).Draw(t, "filter")
		if rapid.Bool().Draw(t, "and below") {
			levels = append(levels[1:], "#")
		}
		filter := strings.Join(levels, "/")
		topic := strings.Join(rapid.SliceOfN(name, 1, 4).Draw(t, "topic"), "/")
		if filter == "" || topic == "" {
			return
		}
		n := 0
		for _, s := range bridge.FilterSubjects(filter) {
			if natsMatches(s, bridge.TopicSubject(topic)) {
				n++
			}
		}
		if want := wire.MatchTopic(filter, topic); n > 1 || want != (n == 1) {
			t.Fatalf("%q, %q: %d of %q match; want %v", filter, topic, n, bridge.FilterSubjects(filter), want)
		}
	})
}

func FuzzTopicSubject(f *testing.F) {
	for _, c := range append(known, ours...) {
		f.Add(c.topic)
		f.Add(c.subject)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if topic, err := bridge.SubjectTopic(s); err == nil && bridge.TopicSubject(topic) != s {
			t.Fatalf("%q became %q and that %q", s, topic, bridge.TopicSubject(topic))
		}
		if wire.ValidTopicString(s) == nil && utf8.ValidString(s) {
			checkTopic(t, s)
		}
	})
}
