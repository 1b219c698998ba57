package acl_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/acl"
)

// made is the policy of rules.
func made(t interface{ Fatal(...any) }, rules []acl.Rule) *acl.Policy {
	p, err := acl.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Who agrees is never told two things; who has the same rules agrees.
func TestAgree(t *testing.T) {
	topics := worldTopics()
	agreed, differed := 0, 0
	forCases(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(worldRule(), 0, 8).Draw(t, "rules")
		other := slices.Clone(rules)
		switch n := len(rules); rapid.IntRange(0, 2).Draw(t, "change") {
		case 0:
			other = append(other, worldRule().Draw(t, "more"))
		case 1:
			if n > 0 {
				i := rapid.IntRange(0, n-1).Draw(t, "without")
				other = slices.Delete(other, i, i+1)
			}
		}
		p, q := made(t, rules), made(t, other)
		s := worldSubject().Draw(t, "subject")
		if acl.Compare(p, q).Agree(s) != acl.Compare(q, p).Agree(s) || !acl.Compare(p, made(t, rules)).Agree(s) {
			t.Fatal("it depends on who is asked")
		}
		if !acl.Compare(p, q).Agree(s) {
			differed++
			return
		}
		agreed++
		a, b := p.Resolve(s), q.Resolve(s)
		for _, levels := range topics {
			topic := strings.Join(levels, "/")
			if a.Publish(topic).Allow != b.Publish(topic).Allow || a.Receive(topic).Allow != b.Receive(topic).Allow {
				t.Fatalf("%s for %+v differs:\n%s\n%s", topic, s, acl.Format(rules), acl.Format(other))
			}
		}
	})
	if agreed == 0 || differed == 0 {
		t.Errorf("%d agreed, %d differed", agreed, differed)
	}
	if all := made(t, nil); acl.Compare(nil, all).Agree(acl.Subject{}) || !acl.Compare(nil, nil).Agree(acl.Subject{}) {
		t.Error("no policy is like one")
	}
}
