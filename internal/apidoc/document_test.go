package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// TestDocument compares the committed document with the code as it is.
func TestDocument(t *testing.T) {
	if err := page.Check(root); err != nil {
		t.Error(err)
	}
}

// Every part of a query that the code reads is described, and no other.
func TestParametersAreThoseOfTheCode(t *testing.T) {
	described := map[string]bool{}
	for _, op := range operations() {
		for _, p := range op.params {
			if p.in != "path" {
				described[p.name] = true
			}
		}
	}
	read := map[string]bool{}
	asked := regexp.MustCompile(`(?:\bq|Query\(\)|Header)\.Get\("([\w-]+)"\)|\b[qv]\["(\w+)"\]|"(since|until)": `)
	files, err := filepath.Glob(filepath.Join(root, "statsd", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
			read[m[1]+m[2]+m[3]] = true
		}
	}
	delete(read, "Retry-After") // of answers that others give
	delete(read, "Content-Type")
	if len(read) < 10 {
		t.Fatalf("only %v are read: the test does not test", read)
	}
	if d, r := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(read)); !slices.Equal(d, r) {
		t.Errorf("described are %v\nthe code reads %v", d, r)
	}
	for name, op := range operations() {
		for _, p := range op.params {
			if p.in == "path" && !strings.Contains(name, "{"+p.name+"}") {
				t.Errorf("%s has no %s", name, p.name)
			}
		}
		if n := strings.Count(name, "{"); n != len(slices.DeleteFunc(slices.Clone(op.params), func(p param) bool { return p.in != "path" })) {
			t.Errorf("%s: a part of the path is not described", name)
		}
	}
}

// Each type of event has its data.
func TestEventTypesAreAll(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "events", "event.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Type = "(\w+)" +// (\w+)`).FindAllStringSubmatch(string(text), -1) {
		want[m[1]] = m[2]
	}
	got := map[string]string{}
	for _, e := range eventTypes() {
		got[string(e.name)] = e.data.Name()
	}
	if len(want) < 10 || !maps.Equal(got, want) {
		t.Errorf("described are %v\nthe code has %v", got, want)
	}
}
