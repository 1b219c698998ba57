package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestDocument compares the committed page with the tests as they are.
func TestDocument(t *testing.T) {
	if err := page.Check("../.."); err != nil {
		t.Error(err)
	}
}

func TestStatements(t *testing.T) {
	specs, err := specifications()
	if err != nil {
		t.Fatal(err)
	}
	// How many the appendices of the OASIS documents list.
	for i, want := range []int{251, 141} {
		if got := len(specs[i].list); got != want {
			t.Errorf("%s has %d statements, want %d", specs[i].name, got, want)
		}
	}
	for _, bad := range []string{
		"1.1.1-1 | server",
		"1.1.1-1 | nobody | x",
		"1.1.1-1 | server | x | why",
		"1.1.1-1 | none | x",
		"1.1.1-1 | server | x\n1.1.1-1 | server | y",
	} {
		if _, err := parseStatements(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func testSpecs() []specification {
	return []specification{
		{"MQTT 5.0", "MQTT-", []statement{
			{number: "1.1.1-1", whom: server, asks: "one"},
			{number: "1.1.1-2", whom: server, asks: "two"},
			{number: "1.1.1-3", whom: none, asks: "three", why: "because"},
			{number: "1.1.1-4", whom: client, asks: "four"},
		}},
		{"MQTT 3.1.1", "MQTT3-", []statement{{number: "1.1.1-1", whom: server, asks: "old"}}},
	}
}

func parsed(t *testing.T, files map[string]string) *source {
	t.Helper()
	src := &source{suites: map[string]*suite{}}
	for name, text := range files {
		if err := src.add(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return src
}

// What a harness checks is said of the harness, not of each test that has it.
func TestRenderHarness(t *testing.T) {
	for _, n := range []int{fewTests, fewTests + 1} {
		var many strings.Builder
		many.WriteString("package a\nfunc harness() { _ = \"[MQTT-1.1.1-1]\" }\n")
		for i := range n {
			fmt.Fprintf(&many, "func Test%d() { harness() }\n", i)
		}
		page, err := render(testSpecs(), parsed(t, map[string]string{"a/x_test.go": many.String()}))
		if err != nil {
			t.Fatal(err)
		}
		if by := strings.Contains(string(page), "| 1.1.1-1 | one | a: every test that runs `harness` |"); by != (n > fewTests) {
			t.Errorf("with %d tests:\n%s", n, page)
		}
	}
}

func TestRender(t *testing.T) {
	page, err := render(testSpecs(), parsed(t, map[string]string{
		"a/x.go":      "package a\n// [MQTT-1.1.1-2] in code shows nothing.\n",
		"a/x_test.go": "package a\n// TestA shows [MQTT-1.1.1-1].\nfunc TestA() { helper() }\nfunc TestB() { table() }\nfunc BenchmarkC() { helper() }\n",
		"a/y_test.go": "package a\nfunc helper() { _ = \"[MQTT3-1.1.1-1]\" }\nfunc table() { helper() }\nfunc TestD() {}\n",
		"b/x_test.go": "package b\nvar cases = []int{1 /* [MQTT-1.1.1-1] */}\nfunc TestE() { _ = cases }\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| MQTT 5.0 | 2 | 1 | 1 | 1 |", "| MQTT 3.1.1 | 1 | 1 | 0 | 0 |",
		"| 1.1.1-1 | one | a: TestA; b: TestE |", "| 1.1.1-1 | old | a: TestA, TestB |",
		"- 1.1.1-2: two\n", "- 1.1.1-3: three: because\n", "None.",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is missing from\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "four") {
		t.Errorf("a client's statement is listed in\n%s", page)
	}
}

func TestWrongCitations(t *testing.T) {
	for name, text := range map[string]string{
		"unknown number":      "package a\nfunc TestA() { _ = \"[MQTT-9.9.9-9]\" }\n",
		"of the other":        "package a\nfunc TestA() { _ = \"[MQTT3-1.1.1-2]\" }\n",
		"does not apply":      "package a\nfunc TestA() { _ = \"[MQTT-1.1.1-3]\" }\n",
		"no test runs it":     "package a\nfunc helper() { _ = \"[MQTT-1.1.1-1]\" }\nfunc TestA() {}\n",
		"outside of anything": "package a\n\n// [MQTT-1.1.1-1]\n\nfunc TestA() {}\n",
		"only a benchmark":    "package a\nfunc BenchmarkA() { _ = \"[MQTT-1.1.1-1]\" }\n",
	} {
		if _, err := render(testSpecs(), parsed(t, map[string]string{"a/x_test.go": text})); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := render(testSpecs(), parsed(t, map[string]string{"a/x.go": "package a\n// [MQTT-9.9.9-9]\n"})); err == nil {
		t.Error("unknown number in code: accepted")
	}
}
