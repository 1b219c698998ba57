package acl_test

import (
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/acl"
	"pgregory.net/rapid"
)

func TestExplain(t *testing.T) {
	p := policy(t, `allow user=bob all #
allow group=ops all #
allow cert=* all #
allow any subscribe x
deny any publish y z/#
allow client="c *" publish %u/+
allow any publish home/%u/x
deny any subscribe home/+/secret
allow any subscribe home/#
`)
	s := acl.Subject{User: "a/b", ClientID: "c 1", Groups: []string{"dev", "qa team"}}
	got, err := p.Explain(s, acl.Publish, "home/1/x")
	if err != nil {
		t.Fatal(err)
	}
	const want = `acl.conf:1: allow user=bob all #
	is for user=bob; this client has "a/b"
acl.conf:2: allow group=ops all #
	is for group=ops; this client is in "dev", "qa team"
acl.conf:3: allow cert=* all #
	is for cert=*; this client has none
acl.conf:4: allow any subscribe x
	is about subscribe, not publish
acl.conf:5: deny any publish y z/#
	no filter of it covers this topic
acl.conf:6: allow client="c *" publish %u/+
	has %u, and this client's user name begins with $ or holds +, # or /
acl.conf:7: allow any publish home/%u/x
	has %u, and this client's user name begins with $ or holds +, # or /
acl.conf:8: deny any subscribe home/+/secret
	is about subscribe, not publish
acl.conf:9: allow any subscribe home/#
	is about subscribe, not publish
denied by default: no rule fits`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, err = p.Explain(acl.Subject{}, acl.Subscribe, "$share/g/home/+/#"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"acl.conf:2: allow group=ops all #\n\tis for group=ops; this client is in no group\n",
		"acl.conf:8: deny any subscribe home/+/secret\n\tcovers only some of the topics\nallowed by acl.conf:9: allow any subscribe home/#",
	} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%s\nlacks\n%s", got, want)
		}
	}
	if got, err = p.Explain(acl.Subject{}, acl.Publish, "a/x"); err != nil || !strings.Contains(got.String(), "acl.conf:7: allow any publish home/%u/x\n\thas %u, and this client has no user name") {
		t.Error(got, err)
	}
	if got, err = p.Explain(acl.Subject{User: "\x1b[2J\n"}, acl.Publish, "a/x"); err != nil || !strings.Contains(got.String(), `this client has "\x1b[2J\n"`) {
		t.Error(got, err)
	}
	for _, bad := range []struct {
		action acl.Action
		topic  string
	}{{acl.Publish, "a/+"}, {acl.Publish, ""}, {acl.Subscribe, "a#"}, {acl.All, "a"}, {0, "a"}} {
		if _, err := p.Explain(s, bad.action, bad.topic); err == nil {
			t.Errorf("explains %v %q", bad.action, bad.topic)
		}
	}
}

// Explain and the rights say the same, and the reasons are those of the reference.
func TestExplainIsTheVerdict(t *testing.T) {
	topics := worldTopics()
	forCases(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(worldRule(), 0, 20).Draw(t, "rules")
		p, err := acl.New(rules)
		if err != nil {
			t.Fatal(err)
		}
		s := worldSubject().Draw(t, "subject")
		for range 30 {
			topic := rapid.SampledFrom(topics).Draw(t, "topic")
			for _, action := range []acl.Action{acl.Publish, acl.Subscribe} {
				x, err := p.Explain(s, action, strings.Join(topic, "/"))
				if err != nil {
					t.Fatal(err)
				}
				i := refDecide(rules, s, action, topic)
				passed := i
				if i < 0 {
					passed = len(rules)
				}
				if len(x.Passed) != passed || x.Verdict.Allow != (i >= 0 && rules[i].Allow) {
					t.Fatalf("%v %q: rule %d decides\n%v", action, topic, i, x)
				}
				for j, step := range x.Passed {
					who := strings.HasPrefix(step.Reason, "is for ")
					about := strings.HasPrefix(step.Reason, "is about ")
					if who == refWho(rules[j], s) || !who && about != (rules[j].Action&action == 0) || strings.Contains(step.Reason, "some") {
						t.Fatalf("rule %d: %s", j, step.Reason)
					}
				}
			}
		}
	})
}
