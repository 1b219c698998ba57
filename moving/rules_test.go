package moving

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/acl"
	"github.com/synthetism/edgebroker/moving/mosquitto"
	"github.com/synthetism/edgebroker/wire"
)

// who is a client as mosquitto sees it.
type who struct {
	user   string
	named  bool
	client string
}

// decide is what mosquitto 2.0 answers, or, with whole, 2.1, in which a name
// must be all of a level: written down plainly, from what its manual and its
// behaviour say.
func decide(lines []mosquitto.ACLLine, w who, access mosquitto.Access, topic string, whole bool) bool {
	verdict := func(pick func(mosquitto.ACLLine) (filter string, ok bool)) (allowed, decided bool) {
		for _, deny := range []bool{true, false} {
			for _, l := range lines {
				filter, ok := pick(l)
				if !ok || (l.Access == mosquitto.Deny) != deny || !wire.MatchTopic(filter, topic) {
					continue
				}
				if deny {
					return false, true
				}
				if l.Access&access != 0 {
					return true, true
				}
			}
		}
		return false, false
	}
	allowed, decided := verdict(func(l mosquitto.ACLLine) (string, bool) {
		return l.Topic, l.Rule && !l.Pattern && l.Problem == "" && l.Named == w.named && l.User == w.user
	})
	if decided {
		return allowed
	}
	if strings.ContainsAny(w.user+w.client, "+#") {
		return false // there may be patterns; without any nothing is allowed either
	}
	allowed, _ = verdict(func(l mosquitto.ACLLine) (string, bool) {
		if !l.Pattern || l.Problem != "" || strings.Contains(l.Topic, "%u") && !w.named {
			return "", false
		}
		levels := strings.Split(l.Topic, "/")
		for i, level := range levels {
			if !whole || level == "%u" || level == "%c" {
				levels[i] = strings.NewReplacer("%c", w.client, "%u", w.user).Replace(level)
			}
		}
		return strings.Join(levels, "/"), true
	})
	return allowed
}

func drawACL(t *rapid.T) string     { return drawLines(t, 0, 12) }
func drawLongACL(t *rapid.T) string { return drawLines(t, 15, 25) }

func drawLines(t *rapid.T, least, most int) string {
	level := rapid.SampledFrom([]string{"a", "b", "c", "", "+", "bob", "%u", "%c", "x%u", "%c-y", "a*", `\`, "%%", "d e"})
	filter := rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(level, 1, 3).Draw(t, "levels")
		if rapid.IntRange(0, 3).Draw(t, "open") == 0 {
			levels = append(levels, "#")
		}
		text := strings.Join(levels, "/")
		return rapid.SampledFrom([]string{"", "", "", "", "$SYS/", "$x/"}).Draw(t, "root") + text
	})
	line := rapid.Custom(func(t *rapid.T) string {
		switch kind := rapid.SampledFrom([]string{"user", "topic", "topic", "topic", "pattern", "pattern", "# "}).Draw(t, "kind"); kind {
		case "user":
			return "user " + rapid.SampledFrom(userNames()).Draw(t, "user")
		default:
			return kind + rapid.SampledFrom([]string{" read ", " write ", " readwrite ", " deny ", " read "}).Draw(t, "access") + filter.Draw(t, "filter")
		}
	})
	return strings.Join(rapid.SliceOfN(line, least, most).Draw(t, "lines"), "\n") + "\n"
}

func userNames() []string {
	return []string{"bob", "ann", "a", "x*y", "mary ann", "a+b", "#", "a/b", "$x"}
}
func clientNames() []string { return []string{"c1", "bob", "b", "a*", "c+", "c#c", "d/e", "$y"} }

// drawTopic is a topic to which lines could apply.
func drawTopic(t *rapid.T, lines []mosquitto.ACLLine, w who) string {
	levels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "bob", "ann", "c1", "xbob", "c1-y", "a*", `\`, "%%", "%u", "x%u", "d e", "d", "e", "", "state"}), 1, 3).Draw(t, "topic")
	filter := rapid.SampledFrom([]string{"", "", "$SYS/", "$x/", "$SYS/broker/connection/"}).Draw(t, "root") + "#"
	if len(lines) > 0 && rapid.IntRange(0, 4).Draw(t, "any") > 0 {
		if l := rapid.SampledFrom(lines).Draw(t, "line"); l.Rule && l.Topic != "" {
			filter = strings.NewReplacer("%u", w.user, "%c", w.client).Replace(l.Topic)
		}
	}
	filter = strings.ReplaceAll(strings.ReplaceAll(filter, "+", levels[0]), "#", strings.Join(levels, "/"))
	if filter == "" || strings.ContainsAny(filter, "+#") {
		return "a"
	}
	return filter
}

// rightsOf are the rights that the rules made of a file give.
func rightsOf(t interface{ Fatal(...any) }, rules []acl.Rule, w who) *acl.Rights {
	parsed, err := acl.Parse("acl", []byte(acl.Format(rules)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := acl.New(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return p.Resolve(acl.Subject{User: w.user, ClientID: w.client, Listener: "l"})
}

// What the rules allow is what mosquitto allows. Where it is less, a line has
// said so, or the client has a name that no rule takes, or it is about
// publishing to topics that begin with $.
func TestRulesDecideAsMosquitto(t *testing.T) {
	compared, allowed, less := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		text := drawACL(t)
		version := rapid.SampledFrom([]Version{Unknown, V20, V21}).Draw(t, "version")
		lines := mosquitto.ParseACL([]byte(text))
		rules, verdicts := rulesOf(lines, scope{version: version, listener: "l"})
		exact := true
		for _, v := range verdicts {
			exact = exact && !v.security && v.verdict != Impossible && (v.verdict != Changed || strings.HasPrefix(v.note, "read only"))
		}
		for range 8 {
			w := who{client: rapid.SampledFrom(clientNames()).Draw(t, "client"), named: rapid.Bool().Draw(t, "named")}
			if w.named {
				w.user = rapid.SampledFrom(userNames()).Draw(t, "name")
			}
			rights := rightsOf(t, rules, w)
			for range 8 {
				topic := drawTopic(t, lines, w)
				for _, access := range []mosquitto.Access{mosquitto.Read, mosquitto.Write} {
					here := rights.Receive(topic).Allow
					if access == mosquitto.Write {
						here = rights.Publish(topic).Allow && topic[0] != '$'
					}
					there := decide(lines, w, access, topic, version == V21)
					if version == Unknown {
						there = there && decide(lines, w, access, topic, true)
					}
					if topic[0] == '$' && access == mosquitto.Write {
						there = there && here
					}
					compared++
					if here {
						allowed++
					}
					if here && !there {
						t.Fatalf("%+v may %v %q here and not with mosquitto\n%s\n%s", w, access, topic, text, acl.Format(rules))
					}
					odd := strings.ContainsAny(w.user+w.client, "+#/") || strings.HasPrefix(w.user, "$") || strings.HasPrefix(w.client, "$")
					if there && !here {
						less++
						if exact && !odd {
							t.Fatalf("%+v may %v %q with mosquitto and not here\n%s\n%s", w, access, topic, text, acl.Format(rules))
						}
					}
				}
			}
		}
	})
	if allowed < compared/100 || compared == allowed {
		t.Errorf("of %d answers %d allow: the test does not test", compared, allowed)
	}
	t.Logf("%d answers, %d allow, %d are no where mosquitto says yes", compared, allowed, less)
}

// Names that mosquitto never saw as wildcards in an own line count as they do
// there.
func TestRulesOfOneUser(t *testing.T) {
	for _, c := range []struct {
		text   string
		w      who
		access mosquitto.Access
		topic  string
		want   bool
	}{
		{"topic read a/#", who{client: "c"}, mosquitto.Read, "a/b", true},
		{"topic read a/#", who{client: "c"}, mosquitto.Write, "a/b", false},
		{"topic read a/#", who{user: "bob", named: true, client: "c"}, mosquitto.Read, "a/b", false},
		{"topic a/b", who{client: "c"}, mosquitto.Write, "a/b", true},
		{"topic read", who{client: "c"}, mosquitto.Write, "read", true},
		{"user bob\ntopic a/#\ntopic deny a/b", who{user: "bob", named: true, client: "c"}, mosquitto.Write, "a/b", false},
		{"user bob\ntopic a/#\nuser ann\ntopic b\nuser bob\ntopic deny a/b", who{user: "bob", named: true, client: "c"}, mosquitto.Write, "a/b", false},
		{"user bob\ntopic a/#\npattern deny a/b", who{user: "bob", named: true, client: "c"}, mosquitto.Write, "a/b", true},
		{"pattern read a/#", who{user: "b+b", named: true, client: "c"}, mosquitto.Read, "a/b", false},
		{"topic read a/#\npattern read b/#", who{client: "c+c"}, mosquitto.Read, "a/b", true},
		{"topic read a/#\npattern read b/#", who{client: "c+c"}, mosquitto.Read, "b/b", false},
		{"user bob\ntopic read $SYS/#\npattern read x", who{client: "c"}, mosquitto.Read, "$SYS/a", false},
		{"pattern read in/%u", who{client: "c"}, mosquitto.Read, "in/", false},
		{"topic read %u/x", who{user: "bob", client: "c", named: true}, mosquitto.Read, "bob/x", false},
		{"topic  readwrite   a b/c  ", who{client: "c"}, mosquitto.Write, "a b/c", true},
	} {
		lines := mosquitto.ParseACL([]byte(c.text))
		rules, _ := rulesOf(lines, scope{})
		rights := rightsOf(t, rules, c.w)
		got := rights.Receive(c.topic).Allow
		if c.access == mosquitto.Write {
			got = rights.Publish(c.topic).Allow
		}
		if got != c.want {
			t.Errorf("%q: %+v, access %d to %s: got %v\n%s", c.text, c.w, c.access, c.topic, got, acl.Format(rules))
		}
		if there := decide(lines, c.w, c.access, c.topic, false); there != c.want {
			t.Errorf("%q: the model of mosquitto says %v", c.text, there)
		}
	}
}

// What no rule can hold allows nothing, and what it denies is denied all the
// same.
func TestRulesThatCannotBeWritten(t *testing.T) {
	deep := strings.Repeat("a/", 200) + "a"
	for _, c := range []struct{ text, topic string }{
		{"topic a/#\ntopic deny a/b\x01c/d", "a/b\x01c/d"},
		{"topic a/#\ntopic deny " + deep, deep},
		{"topic #\ntopic deny \xff/b", "\xff/b"},
		{"topic a/#\ntopic deny a/" + strings.Repeat("x", 5000), "a/" + strings.Repeat("x", 5000)},
		{"topic $SYS/#\ntopic deny $SYS/\x02", "$SYS/\x02"},
		{"topic read " + deep, deep},
		{"pattern read %u\x01", "x"},
		{"user b\x01b\ntopic a/#\npattern read #", "a/b"},
		{"user b\x01b\ntopic deny a/b\npattern read #", "a/b"},
	} {
		lines := mosquitto.ParseACL([]byte(c.text))
		rules, verdicts := rulesOf(lines, scope{})
		if !strings.Contains(fmt.Sprint(verdicts), "true") {
			t.Errorf("%.40q: no line is marked: %v", c.text, verdicts)
		}
		w := who{client: "c"}
		if strings.HasPrefix(c.text, "user") {
			w.user, w.named = "b\x01b", true
		}
		if rights := rightsOf(t, rules, w); rights.Receive(c.topic).Allow != strings.Contains(c.text, "user b\x01b\ntopic a/#") {
			t.Errorf("%.40q: wrong\n%s", c.text, acl.Format(rules))
		}
	}
}

// A rule holds 32 filters; a file may speak of more first levels with $.
func TestRulesWithManyRoots(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "topic read $r%d/#\n", i)
	}
	b.WriteString("pattern read p/%u\n")
	rules, _ := rulesOf(mosquitto.ParseACL([]byte(b.String())), scope{})
	nobody, user := rightsOf(t, rules, who{client: "c"}), rightsOf(t, rules, who{user: "u", named: true, client: "c"})
	for i := range 100 {
		topic := fmt.Sprintf("$r%d/x", i)
		if !nobody.Receive(topic).Allow {
			t.Errorf("clients without a name may not read %s", topic)
		}
		if user.Receive(topic).Allow {
			t.Errorf("users may read %s", topic)
		}
	}
}

// The file that mosquitto comes with as an example.
func TestRulesOfTheExample(t *testing.T) {
	text, err := os.ReadFile("/etc/mosquitto/aclfile.example")
	if err != nil {
		t.Skip("mosquitto is not installed")
	}
	lines := mosquitto.ParseACL(text)
	rules, verdicts := rulesOf(lines, scope{})
	if len(lines) != 4 || len(verdicts) != 4 || verdicts[3].verdict != NotNeeded {
		t.Errorf("got %v, %v", lines, verdicts)
	}
	roger := who{user: "roger", named: true, client: "c"}
	if !rightsOf(t, rules, roger).Publish("foo/bar").Allow || rightsOf(t, rules, roger).Receive("$SYS/x").Allow || !rightsOf(t, rules, who{client: "c"}).Receive("$SYS/x").Allow {
		t.Errorf("wrong:\n%s", acl.Format(rules))
	}
}
