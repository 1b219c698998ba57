package acl_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/acl"
)

func TestParse(t *testing.T) {
	rules, err := acl.Parse("f", []byte("\ufeff# who  what\r\n\r\n  \t# blank before\r\nallow user=a publish x # \n"))
	if err == nil {
		t.Fatalf("a filter # beside others passes: %v", rules)
	}
	rules, err = acl.Parse("f", []byte("\ufeff# who  what\r\n\r\n  \t# # #\r\nallow user=a publish x/#\r\n"+
		`  deny listener=lan	group="a b" cert=*\\\* client="\"q\" \\ #" user=#x subscribe $SYS/# "a b/+" %u/%c/%% "#" a=b`+"\nallow any all #"))
	if err != nil {
		t.Fatal(err)
	}
	want := []acl.Rule{
		{Allow: true, User: "a", Action: acl.Publish, Filters: []string{"x/#"}, File: "f", Line: 4},
		{User: "#x", Group: "a b", Client: `"q" \\ #`, Cert: `*\\\*`, Listener: "lan", Action: acl.Subscribe, Filters: []string{"$SYS/#", "a b/+", "%u/%c/%%", "#", "a=b"}, File: "f", Line: 5},
		{Allow: true, Action: acl.All, Filters: []string{"#"}, File: "f", Line: 6},
	}
	if got, want := fmt.Sprintf("%+v", rules), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := rules[1].String(), `deny user=#x group="a b" client="\"q\" \\ #" cert=*\\\* listener=lan subscribe $SYS/# "a b/+" %u/%c/%% "#" a=b`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Each line is refused with one error, which says where and how to mend it.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"alow any all x", `1:1: "alow" is no beginning of a rule; did you mean allow?`},
		{"Deny any all x", `1:1: "Deny" is no beginning of a rule; did you mean deny?`},
		{"topic any all x", `write allow or deny`},
		{`"allow" any all x`, `1:1: "allow" is no beginning`},
		{"allow", `1:1: "allow" is not a whole rule; write for example allow user=alice publish plant/#`},
		{"allow any", `1:7: "any" is not followed by publish, subscribe or all`},
		{"allow any all", `1:11: "all" has no topics after it`},
		{"allow all x", `1:7: "all" has nobody before it; write any, or a selector such as user=alice, between allow and all`},
		{"allow any user=a all x", `1:11: "user=a" cannot be added`},
		{"allow user=a any all x", `1:14: "any" cannot be added`},
		{"allow any any all x", `1:11: "any" cannot be added`},
		{"allow usr=a all x", `1:7: "usr=a" is no selector; did you mean user=?`},
		{"allow topic=a all x", `write user=, group=, client=, cert= or listener=`},
		{"allow User=a all x", `did you mean user=?`},
		{"allow user= all x", `1:7: "user=" has no value; write user=NAME, or user=* for any name`},
		{`allow user="" all x`, `has no value`},
		{"allow user=a user=b all x", `1:14: "user=b" is the second user= of this rule`},
		{"allow any publsh x", `1:11: "publsh" is neither selector nor action; did you mean publish?`},
		{"allow any x publish", `1:11: "x" is neither`},
		{`allow "user" publish x`, `is in quotes where a selector belongs`},
		{`allow any publish "a b`, `1:19: the quote in "\"a b" is never closed`},
		{`allow any publish a"b"`, `1:20: a quote inside of a word`},
		{`allow any publish "a"/b`, `1:22: something follows the quote`},
		{`allow user=a\b all x`, `1:7: "user=a\\b" has a single backslash; write \\`},
		{`allow user=a\ all x`, `has a single backslash`},
		{`allow any all a/*`, `1:15: "a/*" has *, which is no wildcard of MQTT; write + for one level`},
		{"allow any all a#", `1:15: "a#" is no topic filter: # is not the whole last level`},
		{"allow any all a/#/b", `# is not the whole last level`},
		{"allow any all a+", `+ is not a whole level`},
		{"allow any all %u+", `+ is not a whole level`},
		{"allow any all x%u/%c#", `# is not the whole last level`},
		{`allow any all ""`, `topic filter is empty`},
		{"allow any all a/%n", `has %n; write %u for the user, %c for the client id, %% for a percent sign`},
		{"allow any all a/%", `ends in a single %; write %%`},
		{"allow any all $%u/x", `has a name in a level that begins with $`},
		{"allow any all $share/g/x", `is a shared subscription; rules are about the filter inside`},
		{"allow any all $share/%u/x", `is a shared subscription`},
		{"allow any all x # comment", `1:17: "#" beside others could be meant as a comment`},
		{"allow any all # comment", `1:15: "#" beside others`},
		{"allow any all x #comment", `1:17: "#comment" is no topic filter; comments have lines of their own`},
		{"allow any all #comment", `1:15: "#comment" is no topic filter: # is not`},
		{"allow any all x\u00a0y", `1:16: the character U+00A0 cannot be seen`},
		{"allow user=ä\u200b all x", `1:13: the character U+200B cannot be seen`},
		{"allow any all x\ry", `the character U+000D cannot be seen`},
		{"allow any all \"x\ry\"", `holds the control character U+000D`},
		{"allow any all \xff", `1:15: the byte 0xff is not UTF-8`},
		{"allow any all a\x00", `U+0000`},
		{"allow any all " + strings.Repeat("x ", acl.MaxFilters+1), `is one filter more than the 32 that a rule may have`},
		{"allow any all " + strings.Repeat("/", acl.MaxLevels), `has more than 128 levels`},
		{"allow any all " + strings.Repeat("x", acl.MaxLineBytes), `1: the line is longer than 4096 bytes`},
	} {
		rules, err := acl.Parse("acl.conf", []byte(c.line+"\nallow any all ok"))
		var list acl.Errors
		var one *acl.Error
		if !errors.As(err, &list) || len(list) != 1 || rules != nil {
			t.Errorf("%.60q: %v, %v", c.line, rules, err)
			continue
		}
		if !errors.As(err, &one) || one.Line != 1 || !strings.HasPrefix(err.Error(), "acl.conf:1:") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v\n\tshould say: %s", c.line, err, c.want)
		}
	}
}

func TestParseBounds(t *testing.T) {
	if _, err := acl.Parse("f", make([]byte, acl.MaxFileBytes+1)); err == nil || !strings.Contains(err.Error(), "f: is larger than 4194304 bytes") {
		t.Error(err)
	}
	line := "allow any all x\n"
	rules, err := acl.Parse("f", []byte(strings.Repeat(line, acl.MaxRules)))
	if err != nil || len(rules) != acl.MaxRules {
		t.Error(len(rules), err)
	}
	if _, err := acl.Parse("f", []byte(strings.Repeat(line, acl.MaxRules+1))); err == nil || !strings.Contains(err.Error(), "f:50001: is one rule more") {
		t.Error(err)
	}
	if _, err := acl.New(append(rules, rules[0])); err == nil || !strings.Contains(err.Error(), "50001 rules are more than the 50000") {
		t.Error(err)
	}
	_, err = acl.Parse("f", []byte(strings.Repeat("x\n", 50)))
	if err == nil || strings.Count(err.Error(), "\n") != 20 || !strings.HasSuffix(err.Error(), "and 30 more") {
		t.Error(err)
	}
	_, err = acl.Parse("f", []byte(strings.Repeat("x\n", acl.MaxFileBytes/2)))
	var bad acl.Errors
	if !errors.As(err, &bad) || len(bad) != 101 || !strings.HasPrefix(bad[100].Error(), "f:100: is as far as") {
		t.Error(err)
	}
}

func TestNewRefusesBadRules(t *testing.T) {
	ok := acl.Rule{Action: acl.All, Filters: []string{"x"}}
	for _, c := range []struct {
		change func(*acl.Rule)
		want   string
	}{
		{func(r *acl.Rule) { r.Action = 0 }, "rule 2: action 0 is none that there is"},
		{func(r *acl.Rule) { r.Action = 4 }, "rule 2: action 4"},
		{func(r *acl.Rule) { r.Filters = nil }, "rule 2: a rule needs a topic filter"},
		{func(r *acl.Rule) { r.Filters = slices.Repeat([]string{"x"}, 33) }, "33 topic filters are more than the 32"},
		{func(r *acl.Rule) { r.Filters = []string{"x", "a#"} }, `rule 2: "a#" is no topic filter`},
		{func(r *acl.Rule) { r.Cert = "a\nb" }, `rule 2: cert="a\nb" holds the control character U+000A`},
		{func(r *acl.Rule) { r.User = "a\xff" }, "is not valid UTF-8"},
		{func(r *acl.Rule) { r.File, r.Line, r.User = "f", 7, `\` }, `f:7: user="\\" has a single backslash`},
	} {
		bad := ok
		c.change(&bad)
		if _, err := acl.New([]acl.Rule{ok, bad}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v\n\tshould say: %s", err, c.want)
		}
	}
}

// A policy does not change with what it was made from.
func TestNewCopies(t *testing.T) {
	rules := []acl.Rule{{Allow: true, Action: acl.All, Filters: []string{"x"}}}
	p, err := acl.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	rules[0].Allow, rules[0].Filters[0] = false, "y"
	if v := p.Resolve(acl.Subject{}).Publish("x"); v.String() != "allowed by rule 1: allow any all x" {
		t.Error(v)
	}
}

func TestLiterals(t *testing.T) {
	for _, name := range []string{"*", `\`, `a"b`, "%u", "a b", "x=y", `\*`, "%%c", "x$", `a \`, `a \"`} {
		level, err := acl.LiteralTopic(name)
		if err != nil {
			t.Fatal(err)
		}
		r := acl.Rule{Allow: true, User: acl.Literal(name), Action: acl.Publish, Filters: []string{"up/" + level, level}}
		rules, err := acl.Parse("f", []byte(r.String()))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		p := mustNew(t, rules)
		for _, topic := range []string{"up/" + name, name} {
			if !p.Resolve(acl.Subject{User: name}).Publish(topic).Allow {
				t.Errorf("%q is not matched by %v", name, &r)
			}
			if p.Resolve(acl.Subject{User: name + "x"}).Publish(topic).Allow || p.Resolve(acl.Subject{User: name}).Publish(topic+"x").Allow {
				t.Errorf("%v matches more than %q", &r, name)
			}
		}
	}
	for _, name := range []string{"", "+", "a#", "a/b", "$SYS", "a\x00"} {
		if got, err := acl.LiteralTopic(name); err == nil {
			t.Errorf("%q became %q", name, got)
		}
	}
}

// The examples for operators are files that load without a finding.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/ACL.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```conf\n(.*?)```").FindAllSubmatch(text, -1)
	if len(examples) < 3 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		for _, f := range policy(t, string(e[1])).Lint() {
			t.Errorf("%v\nin\n%s", f, e[1])
		}
	}
	_, err = acl.Parse("acl.conf", []byte("\n\nalow any all x\n\n\n\nallow user=alice publish   plant/*\n\nallow user=a publish x # all\n"))
	var lines acl.Errors
	if !errors.As(err, &lines) || len(lines) != 3 {
		t.Fatal(err)
	}
	for _, l := range lines {
		if !strings.Contains(string(text), "    "+l.Error()+"\n") {
			t.Errorf("the document does not have this error as it is: %v", l)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# c\nallow user=alice publish plant/%c/#\nallow group=ops all plant/#  site/+/status\r\ndeny any subscribe $SYS/#")
	f.Add("allow cert=gw-* listener=\"l \\\" n\" publish \"up/ %u/#\" \\* \\\\ %% \"#\"")
	f.Add("allow any all #\nallow any all # #")
	f.Add("\ufeffdeny client=\\** all x")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := acl.Parse("f", []byte(text))
		if err != nil {
			if rules != nil || err.Error() == "" {
				t.Fatalf("%v and %v", rules, err)
			}
			return
		}
		again, err := acl.Parse("f", []byte(acl.Format(rules)))
		if err != nil || len(again) != len(rules) {
			t.Fatalf("%d rules, read back %d, %v:\n%s", len(rules), len(again), err, acl.Format(rules))
		}
		for i := range rules {
			rules[i].Line = i + 1
			if a, b := fmt.Sprintf("%#v", rules[i]), fmt.Sprintf("%#v", again[i]); a != b {
				t.Fatalf("%s\nread back as\n%s", a, b)
			}
		}
		p, err := acl.New(rules)
		if err != nil {
			t.Fatalf("what parses is refused: %v", err)
		}
		p.Lint()
		r := p.Resolve(acl.Subject{User: "alice", ClientID: "c+", Groups: []string{"ops"}, CertName: "gw-1", Listener: "lan"})
		if r.Subscribe("#").Allow && len(rules) == 0 {
			t.Fatal("no rules, and something is allowed")
		}
		r.Publish("plant/a")
		r.Receive("$SYS/a")
	})
}
