package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promExpr is what a PromQL expression asks for: see parseProm.
type promExpr struct {
	selectors []promSelector
	grouping  []string // labels of by, without, on, ignoring, group_left and group_right
}

// promSelector is a metric with its matchers.
type promSelector struct {
	name     string
	matchers []promMatcher
}

// promMatcher is one comparison of a label, such as state="full".
type promMatcher struct{ label, op, value string }

// promTokens are the tokens of PromQL, and of the variables of Grafana that stand
// for durations, the longer before the shorter.
var promTokens = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`(?P<space>\s+)`,
	`(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')`,
	`(?P<duration>\$__\w+|(?:[0-9]+(?:ms|[smhdwy]))+)`,
	`(?P<number>[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)`,
	`(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)`,
	`(?P<mark>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],:@])`,
}, "|") + `)`)

var (
	promOperators = []string{"and", "or", "unless", "offset", "bool"}
	promGroupings = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	promFunctions = []string{"sum", "min", "max", "avg", "count", "rate", "increase", "deriv", "resets", "histogram_quantile", "time", "sort",
		"vector", "absent", "clamp_min", "max_over_time", "label_values"}
)

// promParser walks over the tokens of an expression.
type promParser struct {
	tokens []string
	kinds  []string
	at     int
}

func (p *promParser) kind() string {
	if p.at < len(p.kinds) {
		return p.kinds[p.at]
	}
	return "end"
}

func (p *promParser) next() string {
	if p.at == len(p.tokens) {
		return ""
	}
	p.at++
	return p.tokens[p.at-1]
}

func (p *promParser) peek(token string) bool { return p.at < len(p.tokens) && p.tokens[p.at] == token }

// parseProm finds the metrics and labels of expr. What it does not know, functions
// included, is an error: so that nothing stays unseen. Whether the expression as
// a whole makes sense, promtool says.
func parseProm(expr string) (promExpr, error) {
	p, rest := &promParser{}, expr
	for rest != "" {
		m := promTokens.FindStringSubmatch(rest)
		if m == nil {
			return promExpr{}, fmt.Errorf("what is %q in %q?", rest, expr)
		}
		for i, name := range promTokens.SubexpNames() {
			if name != "" && name != "space" && m[i] != "" {
				p.tokens, p.kinds = append(p.tokens, m[i]), append(p.kinds, name)
			}
		}
		rest = rest[len(m[0]):]
	}
	var out promExpr
	for p.at < len(p.tokens) {
		kind, token := p.kind(), p.next()
		var err error
		switch {
		case token == "{":
			err = fmt.Errorf("a selector without a name")
		case kind != "word" || slices.Contains(promOperators, token):
		case slices.Contains(promGroupings, token):
			var labels []string
			if labels, err = p.labels(); err == nil {
				out.grouping = append(out.grouping, labels...)
			}
		case p.peek("(") || slices.Contains(promFunctions, token): // "sum by (x) (...)", too
			if !slices.Contains(promFunctions, token) {
				err = fmt.Errorf("the function %s is unknown; add it if it exists", token)
			}
		default:
			s := promSelector{name: token}
			if p.peek("{") {
				s.matchers, err = p.matchers()
			}
			out.selectors = append(out.selectors, s)
		}
		if err != nil {
			return promExpr{}, fmt.Errorf("%w in %q", err, expr)
		}
	}
	if len(out.selectors) == 0 {
		return promExpr{}, fmt.Errorf("no metric in %q", expr)
	}
	return out, nil
}

// labels reads "(a, b)".
func (p *promParser) labels() (out []string, err error) {
	if p.next() != "(" {
		return nil, fmt.Errorf("no list of labels")
	}
	for {
		kind, label := p.kind(), p.next()
		if kind != "word" {
			return nil, fmt.Errorf("%q is no label", label)
		}
		out = append(out, label)
		switch end := p.next(); end {
		case ")":
			return out, nil
		case ",":
		default:
			return nil, fmt.Errorf("%q after a label", end)
		}
	}
}

// matchers reads `{a="b", c=~"d"}`.
func (p *promParser) matchers() (out []promMatcher, err error) {
	p.next()
	for {
		kind, label, op := p.kind(), p.next(), p.next()
		if kind != "word" || !slices.Contains([]string{"=", "!=", "=~", "!~"}, op) || p.kind() != "string" {
			return nil, fmt.Errorf("a matcher of %q with %q", label, op)
		}
		value := p.next()
		out = append(out, promMatcher{label, op, value[1 : len(value)-1]})
		switch end := p.next(); end {
		case "}":
			return out, nil
		case ",":
		default:
			return nil, fmt.Errorf("%q after a matcher", end)
		}
	}
}

func TestParseProm(t *testing.T) {
	for expr, want := range map[string]string{
		`a`: "a",
		`sum by (le, job) (rate(a_bucket{x="y\"}", job=~"$job"}[$__rate_interval]))`: `a_bucket x=y\"} job=~$job | le job`,
		`a{x!="1"}/on(job,instance) group_left(v) b offset 1h30m`:                    "a x!=1 b | job instance v",
		`histogram_quantile(0.99, sum without (x) (rate(h[5m]))) > 1e-3 and b == 2`:  "h b | x",
		`5 * (a + 1) unless min(b) - time() < 14 * 86400 or c`:                       "a b c",
		`sum(a) by (x)`:       "a | x",
		`by_the_way{on="by"}`: "by_the_way on=by",
	} {
		e, err := parseProm(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		var words []string
		for _, s := range e.selectors {
			words = append(words, s.name)
			for _, m := range s.matchers {
				words = append(words, m.label+m.op+m.value)
			}
		}
		if len(e.grouping) > 0 {
			words = append(append(words, "|"), e.grouping...)
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
	for _, bad := range []string{"", "1", "time()", "smu(a)", `{x="y"}`, `a{x}`, `a{x="y"`, `a{x="y" z="y"}`, `a{x=y}`, `sum by a (b)`, `sum by (a b) (c)`, "a # b", "a ? b", `a{"x"="y"}`, `sum by ( (a)`} {
		if e, err := parseProm(bad); err == nil {
			t.Errorf("%q is %+v", bad, e)
		}
	}
}
