package e2e_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

const (
	alertsFile    = "../docs/prometheus/alerts.yml"
	dashboardFile = "../docs/grafana/edgebroker.json"
)

// scraped is the samples of a scrape: by metric, the labels of each. Of a
// histogram there are x_bucket, x_sum and x_count.
type scraped map[string][]map[string]string

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// liveScrape is the text of a scrape of a broker on which everything has happened
// that makes samples: with a store, TLS, and each end of a connection and of a
// message that alerts ask for.
func liveScrape(t *testing.T, change func(*appliance.Config)) []byte {
	t.Helper()
	pki, socket := newPKI(t), ""
	b := start(t, func(c *appliance.Config) {
		c.Storage.Directory = t.TempDir()
		c.Listeners = append(c.Listeners, pki.listener("tls", appliance.ListenTLS))
		socket = c.Control.Socket
		if change != nil {
			change(c)
		}
	})
	sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "sub")).AutoAck()
	sub.Subscribe(1, "t")
	pub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "pub")).AutoAck()
	pub.Publish("t", "x", 1, true)
	pub.Publish("nobody", "x", 1, false)
	sub.ExpectMessage("t", "x")
	pub.Disconnect()
	daemon := statsd.Dial(socket)
	t.Cleanup(daemon.Close)
	brokertest.WaitFor(t, "the client to be gone", func() bool { return b.Stats().Disconnections["normal"] == 1 })
	text, err := daemon.Metrics(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// parseScrape reads the text format as far as our own metrics need it.
func parseScrape(t *testing.T, text []byte) scraped {
	t.Helper()
	out := make(scraped)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Fatalf("what is %q?", line)
		}
		labels := map[string]string{"job": "edgebroker", "instance": "gateway"} // Prometheus adds these
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			labels[pair[1]] = pair[2]
		}
		out[m[1]] = append(out[m[1]], labels)
	}
	if name := "edgebroker_process_block_written_bytes_total"; out[name] == nil {
		t.Logf("%s is taken for granted: nothing has been written to a block device", name)
		out[name] = []map[string]string{{"job": "edgebroker", "instance": "gateway"}}
	}
	return out
}

// has reports whether some sample of a metric has the label.
func (s scraped) has(metric, label string) bool {
	return slices.ContainsFunc(s[metric], func(l map[string]string) bool { _, ok := l[label]; return ok })
}

// problem says what expr asks for and a scrape does not have: a metric, a label,
// or a value of a label that is asked for.
func (s scraped) problem(expr string) error {
	e, err := parseProm(expr)
	if err != nil {
		return err
	}
	for _, sel := range e.selectors {
		if len(s[sel.name]) == 0 {
			return fmt.Errorf("there is no metric %s", sel.name)
		}
		for _, m := range sel.matchers {
			if !s.has(sel.name, m.label) {
				return fmt.Errorf("%s has no label %s", sel.name, m.label)
			}
			if strings.HasPrefix(m.value, "$") {
				continue // a variable of the dashboard
			}
			pattern, err := regexp.Compile("^(?:" + m.value + ")$")
			if err != nil {
				return err
			}
			meets := func(l map[string]string) bool {
				return m.op == "=" && l[m.label] == m.value || m.op == "=~" && pattern.MatchString(l[m.label]) || m.op[0] == '!'
			}
			if !slices.ContainsFunc(s[sel.name], meets) {
				return fmt.Errorf("no sample of %s has %s%s%q", sel.name, m.label, m.op, m.value)
			}
		}
	}
	for _, label := range e.grouping {
		if !s.anyHas(e, label) {
			return fmt.Errorf("no metric of %q has the label %s", expr, label)
		}
	}
	return nil
}

func (s scraped) anyHas(e promExpr, label string) bool {
	return slices.ContainsFunc(e.selectors, func(sel promSelector) bool { return s.has(sel.name, label) })
}

// shows says which label in a text such as "QoS {{qos}}" the expression cannot
// have, "" if none.
func (s scraped) shows(expr, text string, label *regexp.Regexp) string {
	e, _ := parseProm(expr)
	for _, m := range label.FindAllStringSubmatch(text, -1) {
		if !s.anyHas(e, m[1]) {
			return m[1]
		}
	}
	return ""
}

// alert is one rule of the file of alerts.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var out []alert
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// target is an expression of the dashboard.
type target struct{ panel, expr, legend string }

// readDashboard returns all that the dashboard asks for, the values of its
// variables included.
func readDashboard(t *testing.T) []target {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	type panel struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr, LegendFormat string }
	}
	var d struct {
		Panels      []panel
		Annotations struct {
			List []struct{ Name, Expr, TextFormat string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var out []target
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			out = append(out, target{"variable " + v.Name, v.Definition, ""})
		}
	}
	for _, a := range d.Annotations.List {
		out = append(out, target{"annotation " + a.Name, a.Expr, a.TextFormat})
	}
	taken, ids := make(map[[2]int]string), make(map[int]bool)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Errorf("%q lies over %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = cmp.Or(p.Title, "a panel")
			}
		}
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			out = append(out, target{p.Title, q.Expr, q.LegendFormat})
		}
	}
	return out
}

// Every metric, label and value that the dashboard and the alerts ask for is in a
// scrape of a running broker.
func TestDashboardAndAlerts(t *testing.T) {
	s := parseScrape(t, liveScrape(t, nil))
	asked := make(map[string]bool)
	check := func(what, expr string) {
		if err := s.problem(expr); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		e, _ := parseProm(expr)
		for _, sel := range e.selectors {
			asked[sel.name] = true
		}
	}

	labels := regexp.MustCompile(`\$labels\.(\w+)`)
	names := make(map[string]bool)
	for _, a := range readAlerts(t) {
		check(a.Alert, a.Expr)
		if names[a.Alert] || !strings.HasPrefix(a.Alert, "Edgebroker") {
			t.Errorf("%q is no name for an alert, or there are two", a.Alert)
		}
		names[a.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || len(a.Annotations["description"]) < 60 {
			t.Errorf("%s does not say what is wrong and what to do", a.Alert)
		}
		for _, text := range a.Annotations {
			if l := s.shows(a.Expr, text, labels); l != "" {
				t.Errorf("%s: no metric of it has the label %s", a.Alert, l)
			}
		}
	}
	if len(names) < 12 {
		t.Errorf("%d alerts", len(names))
	}

	legend := regexp.MustCompile(`\{\{ *(\w+) *\}\}`)
	for _, q := range readDashboard(t) {
		if inner, ok := strings.CutPrefix(q.expr, "label_values("); ok {
			metric, label, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ", ")
			if i := strings.LastIndex(inner, ", "); i >= 0 {
				metric, label = inner[:i], strings.TrimSuffix(inner[i+2:], ")")
			}
			check(q.panel, metric)
			if name, _, _ := strings.Cut(metric, "{"); !s.has(name, label) {
				t.Errorf("%s: %s has no label %s", q.panel, name, label)
			}
			continue
		}
		check(q.panel, q.expr)
		if l := s.shows(q.expr, q.legend, legend); l != "" {
			t.Errorf("%s: no metric of it has the label %s", q.panel, l)
		}
	}
	for _, metric := range []string{"edgebroker_delivery_seconds_bucket", "edgebroker_journal_sync_seconds_bucket", "edgebroker_messages_dropped_total",
		"edgebroker_certificate_expiry_timestamp_seconds", "edgebroker_listener_sockets_open", "edgebroker_memory_pressure"} {
		if !asked[metric] {
			t.Errorf("nobody asks for %s", metric)
		}
	}
}

// The check finds what is wrong.
func TestDashboardCheck(t *testing.T) {
	s := parseScrape(t, []byte("# HELP a x\na{reason=\"x y\",q=\"\\\"}\"} 1\na{reason=\"z\"} NaN\nb_bucket{le=\"+Inf\"} 2\n"))
	for _, good := range []string{`a`, `sum by (reason, job) (a{reason=~"z|w"})`, `a{q="\"}"}`, `rate(b_bucket{instance=~"$instance"}[1m])`, `a{reason!="no"}`, `a / on (job) group_left (le) b_bucket`} {
		if err := s.problem(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{`c`, `b`, `a{reson="z"}`, `a{reason="w"}`, `a{reason=~"w.*"}`, `a{le=~"$x"}`, `sum by (le) (a)`, `a + c`, `a{reason=~"("}`, `a(`} {
		if s.problem(bad) == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if l := s.shows("a", "{{ reason }} {{le}}", regexp.MustCompile(`\{\{ *(\w+) *\}\}`)); l != "le" {
		t.Errorf("%q", l)
	}
}

// promtool runs promtool, or skips the test.
func promtool(t *testing.T, input []byte, args ...string) {
	t.Helper()
	path, err := exec.LookPath(cmp.Or(os.Getenv("EDGEBROKER_PROMTOOL"), "promtool"))
	if err != nil {
		if os.Getenv("EDGEBROKER_PROMTOOL") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v; scripts/prometheus.sh runs this test with it", err)
	}
	cmd := exec.CommandContext(within(t), path, args...)
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("FAILED")) {
		t.Errorf("%s %s: %v\n%s", path, strings.Join(args, " "), err, out)
	}
}

// What a running broker answers to a scrape pleases Prometheus' own linter.
func TestPromtoolMetrics(t *testing.T) {
	promtool(t, liveScrape(t, nil), "check", "metrics")
}

// Prometheus takes the alerts, and they fire when they should.
func TestPromtoolRules(t *testing.T) {
	promtool(t, nil, "check", "rules", alertsFile)
	promtool(t, nil, "test", "rules", "../docs/prometheus/alerts_test.yml")
}

// Each alert fires in a test, where nothing else does, and no test is of an alert
// that there is not.
func TestAlertsAreTested(t *testing.T) {
	text, err := os.ReadFile("../docs/prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Exprs []struct {
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fires, name := make(map[string]int), regexp.MustCompile(`alertname="(\w+)"`)
	for _, test := range file.Tests {
		for _, e := range test.Exprs {
			for _, sample := range e.Samples {
				fires[name.FindStringSubmatch(sample.Labels)[1]]++
			}
		}
	}
	for _, a := range readAlerts(t) {
		if fires[a.Alert] != 1 {
			t.Errorf("%s fires in %d tests", a.Alert, fires[a.Alert])
		}
		delete(fires, a.Alert)
	}
	for name := range fires {
		t.Errorf("there is no alert %s", name)
	}
}

// Prometheus understands every expression of the dashboard.
func TestPromtoolDashboard(t *testing.T) {
	var b strings.Builder
	b.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	asked := make(map[string]bool)
	for _, q := range readDashboard(t) {
		expr := strings.ReplaceAll(q.expr, "$__rate_interval", "5m")
		if !strings.HasPrefix(expr, "label_values(") {
			asked[expr] = true
		}
	}
	for i, expr := range slices.Sorted(maps.Keys(asked)) {
		fmt.Fprintf(&b, "      - {record: 'dashboard:q%d', expr: %s}\n", i, strconv.Quote(expr))
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", path)
}

// sys.metrics changes nothing about our own metrics, and its values reach a
// running broker's scrape.
func TestNamesOfExporters(t *testing.T) {
	s := parseScrape(t, liveScrape(t, func(c *appliance.Config) { c.Sys.Metrics, c.Sys.Interval = true, time.Second }))
	for _, name := range []string{"broker_clients_connected", "broker_load_publish_received_1min", "edgebroker_clients_connected"} {
		if len(s[name]) != 1 {
			t.Errorf("%s has %d samples", name, len(s[name]))
		}
	}
}
