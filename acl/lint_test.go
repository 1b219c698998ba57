package acl_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/acl"
	"pgregory.net/rapid"
)

func TestLint(t *testing.T) {
	const never = "never decides, because of acl.conf:"
	for _, c := range []struct {
		text string
		want []string // of each finding, in order
	}{
		{"", []string{"there are no access rules, so everything is denied"}},
		{"allow user=a all x\nallow user=b all x", nil},
		{"allow user=a all x/#\ndeny user=a all x/y", []string{"acl.conf:2: " + never + "1;"}},
		{"allow any all x/+\ndeny user=a publish x/%u", []string{"acl.conf:2"}[:0]}, // x/# is denied to names that do not fit
		{"allow any all x/+\nallow user=a publish x/%u", []string{never + "1;"}},
		{"allow any all x/#\ndeny user=a publish x/%u", []string{never + "1;"}},
		{"deny any all x/%u\ndeny user=a publish x/%u", []string{never + "1;"}},
		{"allow any all x/%u\ndeny user=a publish x/%u", nil},
		{"deny any all x/%u/y\nallow user=a publish x/%u/y", []string{never + "1;"}},
		{"allow any all x/%c\nallow user=a publish x/%u", nil},
		{"allow any all %u/%u\nallow user=a all %u/%%u", nil},
		{"deny any subscribe \"#\" %c/%u\ndeny any subscribe %c", nil}, // a client id that does not fit, and no user
		{"allow any publish x\nallow any subscribe x\ndeny user=* all x", []string{never + "1 and acl.conf:2;"}},
		{"allow any publish x\ndeny user=a all x", nil},
		{"allow user=a all x\ndeny any all x", nil},
		{"allow user=a* all x\ndeny user=ab group=g all x", []string{never + "1;"}},
		{"allow user=a group=g all x\ndeny user=a all x", nil},
		{"allow group=g all x\ndeny group=h all x", nil},
		{"deny any all #\nallow user=a all $SYS/#", nil},
		{"deny any all #\nallow user=a all x", []string{never + "1;"}},
		{"deny any all x y\nallow user=a all y x z", nil},
		{"deny any all x y\nallow user=a all y x", []string{never + "1;"}},
		{"allow any all #", []string{"acl.conf:1: lets every client publish on and read every topic that does not begin with $"}},
		{"allow any publish +/#", []string{"lets every client publish on every topic"}},
		{"allow any subscribe #", []string{"lets every client read every topic"}},
		{"allow user=* all #\ndeny any all $SYS/#\nallow any all x/#", nil},
		{"allow client=c all x", []string{"trusts the client id alone"}},
		{"allow client=c listener=l all x", []string{"trusts the client id alone"}},
		{"allow client=c user=u all x\nallow client=* all y\ndeny client=d all z", nil},
	} {
		rules, err := acl.Parse("acl.conf", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := acl.New(rules)
		if err != nil {
			t.Fatal(err)
		}
		found := p.Lint()
		ok := len(found) == len(c.want)
		for i := range min(len(found), len(c.want)) {
			ok = ok && strings.Contains(found[i].String(), c.want[i])
		}
		if !ok {
			t.Errorf("%q:\ngot  %v\nwant %v", c.text, found, c.want)
		}
	}
}

// A rule that Lint says never decides, never decides.
func TestLintIsCertain(t *testing.T) {
	topics := worldTopics()
	var dead int
	forCases(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(worldRule(), 2, 12).Draw(t, "rules")
		p, err := acl.New(rules)
		if err != nil {
			t.Fatal(err)
		}
		never := map[int]bool{}
		for _, f := range p.Lint() {
			if strings.Contains(f.Text, "never decides") {
				never[f.Line] = true
				dead++
			}
		}
		if len(never) == 0 {
			return
		}
		for range 4 {
			r := p.Resolve(worldSubject().Draw(t, "subject"))
			for i, topic := range topics {
				if len(topic) == worldDepth && i%7 != 0 {
					continue
				}
				name := strings.Join(topic, "/")
				for _, v := range []acl.Verdict{r.Publish(name), r.Receive(name)} {
					if v.Rule != nil && never[v.Rule.Line] {
						t.Fatalf("%q: %v\n%s", name, v, acl.Format(rules))
					}
				}
			}
		}
	})
	if dead == 0 {
		t.Error("no rule was found dead")
	}
}

func TestLintFiles(t *testing.T) {
	dir := t.TempDir()
	full, empty := filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	if err := os.WriteFile(full, []byte("allow user=a all x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, []byte("# nothing yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{[]string{full}, "[]"},
		{[]string{full, empty}, "[" + empty + ": has no rules]"},
		{[]string{empty}, "[" + empty + ": has no rules, so everything is denied; add a rule that allows something]"},
		{nil, "[there are no access rules, so everything is denied; allow something]"},
	} {
		p, err := acl.Load(c.paths...)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Lint()); got != c.want {
			t.Errorf("%s, not %s", got, c.want)
		}
		if p.Resolve(acl.Subject{User: "b"}).Publish("x").Allow {
			t.Error("something is allowed")
		}
	}
}

// Lint's work is bounded: the longest policy, of rules that are all alike.
func TestLintEnds(t *testing.T) {
	rules := slices.Repeat([]acl.Rule{{Action: acl.All, User: "a*", Filters: []string{"b"}}}, acl.MaxRules)
	for i := range rules {
		rules[i].User = fmt.Sprintf("%d-*", i)
	}
	p, err := acl.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	found := p.Lint()
	t.Logf("%d findings in %v", len(found), time.Since(began))
	if n := len(found); n != 1 || !strings.Contains(found[0].Text, "too many") {
		t.Errorf("%d findings: %v", n, found[:min(n, 3)])
	}
}
