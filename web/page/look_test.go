package page_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var declared = regexp.MustCompile(`(--[\w-]+):\s*([^;]+);`)

// themes returns the custom properties of the light and of the dark theme.
func themes(t testing.TB) map[string]map[string]string {
	t.Helper()
	text := sources(t)["/assets/css/tokens.css"]
	light, dark, ok := strings.Cut(text, `:root[data-theme="dark"]`)
	if !ok {
		t.Fatal("there is no dark theme")
	}
	read := func(text string) map[string]string {
		m := map[string]string{}
		for _, d := range declared.FindAllStringSubmatch(text, -1) {
			m[d[1]] = d[2]
		}
		return m
	}
	out := map[string]map[string]string{"light": read(light)}
	out["dark"] = maps.Clone(out["light"])
	changed := read(dark)
	for name, value := range out["light"] {
		if _, again := changed[name]; strings.HasPrefix(value, "#") && !again {
			t.Errorf("the dark theme has the %s of the light one", name)
		}
	}
	maps.Copy(out["dark"], changed)
	return out
}

// luminance is that of WCAG 2.
func luminance(t testing.TB, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil || len(colour) != 7 {
		t.Fatalf("%q is not #rrggbb", colour)
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}

func contrast(t testing.TB, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text has the contrast of WCAG 2 AA (4.5), what is drawn that of 1.4.11 (3).
func TestContrast(t *testing.T) {
	if c := contrast(t, "#000000", "#ffffff"); math.Abs(c-21) > 0.01 {
		t.Fatalf("black on white is %.2f", c)
	}
	if c := contrast(t, "#777777", "#ffffff"); c > 4.5 || c < 4.4 {
		t.Fatalf("grey on white is %.2f", c)
	}
	surfaces := []string{"--bg", "--surface", "--sunken", "--hover"}
	type pair struct {
		front string
		backs []string
		least float64
	}
	pairs := []pair{
		{"--text", surfaces, 4.5}, {"--muted", surfaces, 4.5}, {"--accent", surfaces, 4.5},
		{"--accent-text", []string{"--accent"}, 4.5}, {"--surface", []string{"--bad", "--text"}, 4.5}, // buttons that warn, notices
		{"--good", []string{"--good-bg", "--surface"}, 4.5}, {"--warn", []string{"--warn-bg", "--surface", "--bg"}, 4.5},
		{"--bad", []string{"--bad-bg", "--surface", "--bg"}, 4.5},
		{"--edge", []string{"--surface", "--bg"}, 3}, // of fields and buttons
		{"--in", []string{"--surface"}, 3}, {"--out", []string{"--surface"}, 3}, {"--lost", []string{"--surface", "--sunken"}, 3}, {"--quiet", []string{"--surface", "--sunken"}, 3},
	}
	for theme, colours := range themes(t) {
		for _, p := range pairs {
			for _, back := range p.backs {
				if c := contrast(t, colours[p.front], colours[back]); c < p.least {
					t.Errorf("%s: %s on %s has %.2f, want %.1f", theme, p.front, back, c, p.least)
				}
			}
		}
	}
}

// Every custom property that is used is declared, and colours are nowhere else.
func TestTokens(t *testing.T) {
	have := themes(t)["light"]
	used := map[string]bool{}
	colour := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b[^{]*;`)
	for name, text := range sources(t) {
		if path.Ext(name) != ".css" || strings.HasPrefix(name, "/assets/uplot/") {
			continue
		}
		for _, m := range regexp.MustCompile(`var\((--[\w-]+)\)`).FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
			if _, ok := have[m[1]]; !ok {
				t.Errorf("%s uses %s, which is not declared", name, m[1])
			}
		}
		if found := colour.FindString(text); found != "" && !strings.HasSuffix(name, "/tokens.css") {
			t.Errorf("%s has a colour of its own: %s", name, found)
		}
	}
	for name := range have {
		if !used[name] {
			t.Errorf("%s is not used", name)
		}
	}
}

// The page says of a reason what docs/REFERENCE.md says.
func TestReasons(t *testing.T) {
	doc, err := os.ReadFile("../../docs/REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| reason | the message was not delivered because |")
	table, _, _ = strings.Cut(table, "\n\n")
	link := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	told := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*) \\|$").FindAllStringSubmatch(table, -1) {
		told[m[1]] = link.ReplaceAllString(m[2], "$1")
	}
	js := sources(t)["/assets/js/model/reasons.js"]
	shown := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  (\w+): "(.*)",$`).FindAllStringSubmatch(js, -1) {
		shown[m[1]] = m[2]
	}
	if len(told) < 10 {
		t.Fatalf("found %d reasons in the document", len(told))
	}
	if a, b := slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(shown)); !slices.Equal(a, b) {
		t.Errorf("the document has the reasons %v, the page %v", a, b)
	}
	for reason, text := range shown {
		if !strings.HasPrefix(told[reason], text) {
			t.Errorf("%s: the page says %q, the document %q", reason, text, told[reason])
		}
	}
}

// The keys that the help dialog names are those that the document names.
func TestKeysAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/DASHBOARD.md")
	if err != nil {
		t.Fatal(err)
	}
	html := sources(t)["/assets/index.html"]
	_, help, _ := strings.Cut(html, `class="keys"`)
	help, _, _ = strings.Cut(help, "</table>")
	keys := regexp.MustCompile(`<kbd>([^<]+)</kbd>`).FindAllStringSubmatch(help, -1)
	if len(keys) < 6 {
		t.Fatalf("found %d keys", len(keys))
	}
	for _, k := range keys {
		if want := fmt.Sprintf("`%s`", k[1]); !strings.Contains(string(doc), want) {
			t.Errorf("the document does not name the key %s", want)
		}
	}
}
