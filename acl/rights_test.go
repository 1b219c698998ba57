package acl_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/synthetism/edgebroker/acl"
	"pgregory.net/rapid"
)

func policy(t testing.TB, text string) *acl.Policy {
	t.Helper()
	rules, err := acl.Parse("acl.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := acl.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every topic of the small world, published and received, by a few subjects
// under random rules.
func TestRightsAreTheReference(t *testing.T) {
	topics := worldTopics()
	forCases(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(worldRule(), 0, 16).Draw(t, "rules")
		p, err := acl.New(rules)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s := worldSubject().Draw(t, "subject")
			rights := p.Resolve(s)
			for i, topic := range topics {
				if len(topic) == worldDepth && i%7 != 0 {
					continue // of these, which are most, a few will do
				}
				name := strings.Join(topic, "/")
				for action, v := range map[acl.Action]acl.Verdict{acl.Publish: rights.Publish(name), acl.Subscribe: rights.Receive(name)} {
					got, want := -1, refDecide(rules, s, action, topic)
					if v.Rule != nil {
						got = v.Rule.Line - 1
					}
					if got != want || v.Allow != (want >= 0 && rules[want].Allow) {
						t.Fatalf("%v on %q by %+v: decided by rule %d, not %d; %v\n%s", action, name, s, got, want, v, acl.Format(rules))
					}
				}
			}
		}
	})
}

// A subscription is refused if, and only if, nothing can ever be delivered.
func TestSubscribeIsExact(t *testing.T) {
	topics := worldTopics()
	var asked, hopeless int
	forCases(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(worldRule(), 0, 14).Draw(t, "rules")
		p, err := acl.New(rules)
		if err != nil {
			t.Fatal(err)
		}
		s := worldSubject().Draw(t, "subject")
		rights := p.Resolve(s)
		deliverable := topics[:0:0]
		for _, topic := range topics {
			if refAllows(rules, s, acl.Subscribe, topic) {
				deliverable = append(deliverable, topic)
			}
		}
		for range 20 {
			filter := worldFilter(false).Draw(t, "filter")
			levels := strings.Split(filter, "/")
			want := false
			for _, topic := range deliverable {
				if refDollar(levels, topic) && refLevels(levels, topic) {
					want = true
					break
				}
			}
			asked++
			if !want {
				hopeless++
			}
			for _, f := range []string{filter, "$share/g/" + filter} {
				if v := rights.Subscribe(f); v.Allow != want || v.Rule != nil && v.Rule.Allow != want {
					t.Fatalf("%q for %+v: %v, not %v\n%s", f, s, v, want, acl.Format(rules))
				}
			}
		}
	})
	t.Logf("%d subscriptions, of which %d hopeless and all of them refused", asked, hopeless)
	if hopeless == 0 || hopeless == asked {
		t.Error("the cases do not tell the two apart")
	}
}

func TestPublish(t *testing.T) {
	const rules = `
# a comment, and # one inside
allow user=alice           publish    plant/%c/#
allow group=ops            all        plant/#  site/+/status
deny  any                  subscribe  $SYS/#
allow cert=gw-*  listener=lan  publish  up/%u/#
allow user="mary ann"      publish    "her topic/x"
allow user=\*              publish    star
allow user=*               publish    named
`
	p := policy(t, rules)
	alice := acl.Subject{User: "alice", ClientID: "c1"}
	gw := acl.Subject{User: "u", CertName: "gw-7", Listener: "lan"}
	with := func(s acl.Subject, change func(*acl.Subject)) acl.Subject { change(&s); return s }
	for _, c := range []struct {
		name  string
		s     acl.Subject
		topic string
		want  bool
	}{
		{"own client id", alice, "plant/c1/x", true},
		{"parent level of #", alice, "plant/c1", true},
		{"other client id", alice, "plant/c2/x", false},
		{"longer client id", alice, "plant/c11/x", false},
		{"other case", with(alice, func(s *acl.Subject) { s.User = "Alice" }), "plant/c1/x", false},
		{"no user", with(alice, func(s *acl.Subject) { s.User = "" }), "plant/c1/x", false},
		{"client id with plus", with(alice, func(s *acl.Subject) { s.ClientID = "+" }), "plant/c2/x", false},
		{"client id with plus, to the letter", with(alice, func(s *acl.Subject) { s.ClientID = "c+" }), "plant/c+/x", false},
		{"client id with hash", with(alice, func(s *acl.Subject) { s.ClientID = "#" }), "plant/c2", false},
		{"client id with slash", with(alice, func(s *acl.Subject) { s.ClientID = "c2/x" }), "plant/c2/x", false},
		{"client id with U+0000", with(alice, func(s *acl.Subject) { s.ClientID = "c\x00" }), "plant/c\x00", false},
		{"client id with $", with(alice, func(s *acl.Subject) { s.ClientID = "$c" }), "plant/$c", false},
		{"client id of signs", with(alice, func(s *acl.Subject) { s.ClientID = "%u" }), "plant/%u/x", true},
		{"signs are not read twice", with(alice, func(s *acl.Subject) { s.ClientID = "%u" }), "plant/alice/x", false},
		{"group", acl.Subject{Groups: []string{"x", "ops"}}, "site/1/status", true},
		{"group twice", acl.Subject{Groups: []string{"ops", "ops"}}, "site/1/status", true},
		{"group, other topic", acl.Subject{Groups: []string{"ops"}}, "site/1/2/status", false},
		{"both selectors", gw, "up/u/1", true},
		{"one selector", with(gw, func(s *acl.Subject) { s.Listener = "wan" }), "up/u/1", false},
		{"no certificate", with(gw, func(s *acl.Subject) { s.CertName = "" }), "up/u/1", false},
		{"certificate without what follows", with(gw, func(s *acl.Subject) { s.CertName = "gw-" }), "up/u/1", true},
		{"certificate of another kind", with(gw, func(s *acl.Subject) { s.CertName = "agw-7" }), "up/u/1", false},
		{"no user for %u", with(gw, func(s *acl.Subject) { s.User = "" }), "up//1", false},
		{"quoted", acl.Subject{User: "mary ann"}, "her topic/x", true},
		{"literal asterisk", acl.Subject{User: "*"}, "star", true},
		{"literal asterisk is no glob", acl.Subject{User: "x"}, "star", false},
		{"any name", acl.Subject{User: "x"}, "named", true},
		{"any name but none", acl.Subject{}, "named", false},
		{"empty topic", acl.Subject{Groups: []string{"ops"}}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v := p.Resolve(c.s).Publish(c.topic); v.Allow != c.want {
				t.Errorf("%+v, %q: %v", c.s, c.topic, v)
			}
		})
	}
}

func TestDeniedNames(t *testing.T) {
	p := policy(t, "deny any all inbox/%u/secret\ndeny any all %c/x\nallow any all # \nallow any all $SYS/#\n")
	for _, c := range []struct {
		user, client, topic string
		want                bool
	}{
		{"ann", "c", "inbox/ann/secret", false},
		{"ann", "c", "inbox/bob/secret", true},
		{"", "c", "inbox/bob/secret", true},
		{"ann", "c", "c/x", false},
		{"ann", "c", "d/x", true},
		{"ann", "", "d/x", true},
		// A name that does not fit may be meant to be anything.
		{"a/b", "c", "inbox/a/b/secret", false},
		{"+", "c", "inbox/bob/secret", false},
		{"+", "c", "inbox", false},
		{"+", "c", "outbox", true},
		{"ann", "$SYS", "$SYS/x", false},
		{"ann", "#", "outbox", false},
		{"ann", "d", "$SYS/x", true},
	} {
		r := p.Resolve(acl.Subject{User: c.user, ClientID: c.client})
		if v := r.Publish(c.topic); v.Allow != c.want {
			t.Errorf("user %q, client %q, %q: %v", c.user, c.client, c.topic, v)
		}
	}
}

func TestSubscribe(t *testing.T) {
	p := policy(t, `
deny  any        subscribe plant/+/secret
deny  any        subscribe vault/#
allow any        subscribe plant/# vault/open
allow group=ops  subscribe $SYS/# vault/#
allow any        publish   up/#
deny  any        subscribe x/+ x/+/+ x/a/b/c
allow any        subscribe x/#
`)
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{"#", true}, {"+", true}, {"+/+", true}, {"plant/#", true}, {"plant/+/secret", false}, {"plant/a/secret", false}, {"plant/+/secret/#", true},
		{"plant", true}, {"vault/#", false}, {"vault/open", false}, {"up/#", false}, {"up/x", false},
		{"$SYS/#", false}, {"$SYS/a", false}, {"other/#", false}, {"/#", false}, {"/", false},
		{"x/+/+", false}, {"x/a/b/c", false}, {"x/a/b/+", true}, {"x/a/#", true}, {"x", true}, {"x/+", false}, {"x/+/+/#", true},
		{"$share/g/plant/#", true}, {"$share/g/vault/#", false}, {"$share/g/vault/open", false}, {"$share/g/$SYS/#", false},
		{"", false}, {"a#", false}, {"$share/g", false}, {"$share//plant/#", false}, {"plant/#/x", false},
		{strings.Repeat("plant/", 8000) + "#", true}, {strings.Repeat("other/", 8000) + "#", false},
	} {
		if v := p.Resolve(acl.Subject{User: "u", ClientID: "c"}).Subscribe(c.filter); v.Allow != c.want {
			t.Errorf("%.60q: %v", c.filter, v)
		}
	}
	below := policy(t, "deny any subscribe /+\nallow any subscribe /#").Resolve(acl.Subject{})
	for filter, want := range map[string]bool{"/#": true, "/+": false, "/": false, "+/#": true, "/+/#": true, "//": true} {
		if v := below.Subscribe(filter); v.Allow != want {
			t.Errorf("%q: %v", filter, v)
		}
	}
	if v := p.Resolve(acl.Subject{Groups: []string{"ops"}}).Subscribe("$SYS/#"); !v.Allow || v.Rule.Line != 5 {
		t.Errorf("$SYS/# for ops: %v", v)
	}
	if v := p.Resolve(acl.Subject{}).Subscribe("vault/#"); v.Rule == nil || v.Rule.Line != 3 {
		t.Errorf("a refusal does not name the rule that denies: %v", v)
	}
}

// The work for one subscription is bounded; up to there the answer is exact.
func TestSubscribeGivesUp(t *testing.T) {
	for _, c := range []struct {
		rules int
		want  bool
	}{{999, false}, {1001, true}} {
		rules := []acl.Rule{{Action: acl.Subscribe, Filters: []string{"x/+"}}}
		for i := range c.rules {
			rules = append(rules, acl.Rule{Allow: true, Action: acl.Subscribe, Filters: []string{fmt.Sprint("x/", i)}})
		}
		r := mustNew(t, rules).Resolve(acl.Subject{})
		if v := r.Subscribe("x/#"); v.Allow != c.want {
			t.Errorf("%d rules: %v", c.rules, v)
		}
		if r.Receive("x/1").Allow || r.Subscribe("x/1").Allow {
			t.Error("what is denied is allowed")
		}
	}
}

func TestDollar(t *testing.T) {
	r := policy(t, "allow any all #\nallow any all +/+\nallow any subscribe $a/#").Resolve(acl.Subject{})
	for topic, want := range map[string]bool{"a/b": true, "$SYS/x": false, "$SYS": false, "$a/b": true, "$a": true, "/$SYS": true} {
		if v := r.Receive(topic); v.Allow != want {
			t.Errorf("%q: %v", topic, v)
		}
	}
}

func TestVerdictNamesTheRule(t *testing.T) {
	r := policy(t, "deny any publish a\n\nallow  any publish +").Resolve(acl.Subject{})
	for topic, want := range map[string]string{
		"a":   "denied by acl.conf:1: deny any publish a",
		"b":   "allowed by acl.conf:3: allow any publish +",
		"b/c": "denied by default: no rule fits",
	} {
		if got := r.Publish(topic).String(); got != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
	var none acl.Rights
	if none.Publish("a").Allow || none.Receive("a").Allow || none.Subscribe("#").Allow {
		t.Error("the zero rights allow something")
	}
	if v := r.Subscribe("#"); v.Allow {
		t.Error(v)
	}
}

// Rights and policies are used from many goroutines; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	p := policy(t, "allow user=a* publish %u/#\nallow user=b publish %c\nallow any all x/#")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				name := string([]byte{'a', byte('a' + (i+j)%26)})
				r := p.Resolve(acl.Subject{User: name, ClientID: "c"})
				if !r.Publish(name+"/1").Allow || r.Publish("b/1").Allow || !r.Subscribe("#").Allow {
					t.Errorf("wrong rights for %s", name)
				}
			}
		})
	}
	wg.Wait()
}

// More kinds of subjects than a policy remembers.
func TestManyKindsOfSubjects(t *testing.T) {
	var rules []acl.Rule
	for i := range 3000 {
		n := string(rune('一' + i))
		rules = append(rules, acl.Rule{Allow: true, User: n, Action: acl.All, Filters: []string{n + "/#"}},
			acl.Rule{Allow: true, Group: n, Action: acl.All, Filters: []string{"g/" + n}})
	}
	p, err := acl.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i := range 3000 {
			n, other := string(rune('一'+i)), string(rune('一'+(i+1)%3000))
			r := p.Resolve(acl.Subject{User: n, Groups: []string{other}})
			if !r.Publish(n+"/x").Allow || r.Publish(other+"/x").Allow || r.Publish("g/"+n).Allow || !r.Publish("g/"+other).Allow {
				t.Fatalf("wrong rights for %s", n)
			}
		}
	}
}
