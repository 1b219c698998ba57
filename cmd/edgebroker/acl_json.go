package main

import (
	"github.com/synthetism/edgebroker/acl"
)

// aclVerdict is what `acl test -o json` prints.
type aclVerdict struct {
	Allowed  bool        `json:"allowed"`
	Action   string      `json:"action"` // publish or subscribe
	Topic    string      `json:"topic"`  // or filter
	User     string      `json:"user,omitempty"`
	Client   string      `json:"client,omitempty"`
	Groups   []string    `json:"groups"` // as given, then those in the file of users
	Cert     string      `json:"cert,omitempty"`
	Listener string      `json:"listener,omitempty"`
	Rule     *aclRule    `json:"rule,omitempty"` // that decided; none: denied, since no rule fits
	Passed   []aclPassed `json:"passed"`         // the rules before it, or all
}

// aclRule is a rule and where it stands.
type aclRule struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1
	Text string `json:"text"`
}

// aclPassed is a rule that did not decide.
type aclPassed struct {
	Rule   aclRule `json:"rule"`
	Reason string  `json:"reason"`
}

// aclFinding is something about rules that can hardly be meant.
type aclFinding struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // of the rule, from 1; none: the whole file
	What string `json:"what"`           // and how to mend it
}

func describeVerdict(s *acl.Subject, action, topic string, x *acl.Explanation) aclVerdict {
	v := aclVerdict{
		Allowed: x.Verdict.Allow, Action: action, Topic: topic, User: s.User, Client: s.ClientID, Groups: append([]string{}, s.Groups...),
		Cert: s.CertName, Listener: s.Listener, Passed: []aclPassed{},
	}
	if r := x.Verdict.Rule; r != nil {
		v.Rule = &aclRule{r.File, r.Line, r.String()}
	}
	for _, p := range x.Passed {
		v.Passed = append(v.Passed, aclPassed{aclRule{p.Rule.File, p.Rule.Line, p.Rule.String()}, p.Reason})
	}
	return v
}

func describeFindings(list []acl.Finding) []aclFinding {
	var out []aclFinding
	for _, f := range list {
		out = append(out, aclFinding{f.File, f.Line, f.Text})
	}
	return out
}
