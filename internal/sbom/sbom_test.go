package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// builtForTest is the program, built for this machine.
func builtForTest(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "edgebroker")
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-trimpath", "-buildvcs=false", "-o", binary, "github.com/synthetism/edgebroker/cmd/edgebroker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// Each module in the binary is in the SBOM with a licence that is known, and the
// text of its licence is in the copyright file.
func TestNothingLinkedIsMissing(t *testing.T) {
	t.Chdir("../..")
	binary, out := builtForTest(t), t.TempDir()
	if err := run([]string{"-binary", binary, "-version", "v1.2.3+x", "-epoch", "1800000000", "-out", out}, os.Stderr); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(out, "sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(document, &b); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if main := b.Metadata.Component; main.Name != info.Main.Path || main.Purl != "pkg:golang/github.com/synthetism/edgebroker@v1.2.3%2Bx" ||
		b.Metadata.Timestamp != "2027-01-15T08:00:00Z" {
		t.Errorf("metadata %+v", b.Metadata)
	}
	have := map[string]component{}
	for _, c := range b.Components {
		have[c.Name] = c
		if len(c.Licences) != 1 || c.Licences[0].Expression == "" {
			t.Errorf("%s has no licence", c.Name)
		}
	}
	if len(info.Deps) < 20 || len(have) != len(info.Deps)+1 || have["std"].Version == "" {
		t.Errorf("%d modules and the standard library, %d components", len(info.Deps), len(have))
	}
	text, err := os.ReadFile(filepath.Join(out, "copyright"))
	if err != nil {
		t.Fatal(err)
	}
	beside, err := os.ReadFile(filepath.Join(out, besideName))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("TERMS AND CONDITIONS FOR USE, REPRODUCTION")) {
		t.Error("the copyright file repeats what Debian has in /usr/share/common-licenses")
	}
	words := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n .\n", "\n")), " ") +
		strings.Join(strings.Fields(string(beside)), " ")
	for _, dep := range info.Deps {
		if c := have[dep.Path]; c.Version != dep.Version || len(c.Hashes) != 1 {
			t.Errorf("%s %s: %+v", dep.Path, dep.Version, c)
		}
		if !bytes.Contains(text, []byte("\nFiles: linked/"+dep.Path+"/*\n")) {
			t.Errorf("%s is not in the copyright file", dep.Path)
		}
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", dep.Path).Output()
		if err != nil {
			t.Fatal(err)
		}
		found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "LICEN*"))
		if len(found) == 0 {
			t.Errorf("%s: no licence to compare with", dep.Path)
		}
		for _, f := range found {
			licence, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(words, strings.Join(strings.Fields(string(licence)), " ")) {
				t.Errorf("the text of %s is not in the copyright file", f)
			}
		}
	}
	// What packages say of themselves.
	config, err := os.ReadFile("packaging/nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, said, _ := strings.Cut(string(config), "\nlicense: ")
	said, _, _ = strings.Cut(said, "\n")
	linked := map[string]bool{}
	for _, c := range append(b.Components, b.Metadata.Component) {
		for id := range strings.SplitSeq(c.Licences[0].Expression, " AND ") {
			if id == "EPL-2.0 OR BSD-3-Clause" {
				id = "BSD-3-Clause" // of the two, the one that is chosen here
			}
			linked[id] = true
		}
	}
	for id := range strings.SplitSeq(said, " AND ") {
		if !linked[id] {
			t.Errorf("packaging/nfpm.yaml names %s, under which nothing is linked", id)
		}
		delete(linked, id)
	}
	if len(linked) > 0 {
		t.Errorf("packaging/nfpm.yaml does not name %v", linked)
	}
	if !strings.Contains(words, "Leon Sorokin") {
		t.Error("what is embedded in the page is not in the copyright file")
	}
}

func TestIdentify(t *testing.T) {
	const mit = "Permission is hereby granted, free of charge, to any person\nobtaining a copy ... to deal in\n the Software without restriction"
	const bsd = "> Redistribution and use in source and binary forms, with or without\n> modification, are permitted"
	for _, c := range []struct{ name, text, want string }{
		{"LICENSE", mit, "MIT"},
		{"LICENSE", bsd, "BSD-2-Clause"},
		{"LICENSE", bsd + " may be used to endorse or promote products", "BSD-3-Clause"},
		{"LICENSE", bsd + " used to endorse or promote ... All advertising materials must", ""},
		{"LICENSE", "Apache License\n   Version 2.0\n" + mit, "Apache-2.0 AND MIT"},
		{"LICENSE", "GNU General Public License", ""},
		{"LICENSE", "", ""},
	} {
		if got, err := identify(c.name, []byte(c.text)); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%.40q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	if got, err := identify("NOTICE", []byte("whatever")); got != "" || err != nil {
		t.Errorf("a notice: %q, %v", got, err)
	}
	if got := expression([]string{"MIT", "A OR B", "MIT"}); got != "(A OR B) AND MIT" {
		t.Error(got)
	}
}

// A module without a licence, or with one that nobody has read, fails.
func TestLicencesMustBeKnown(t *testing.T) {
	dir := t.TempDir()
	in := map[string]bool{dir: true}
	if _, err := licencesIn(dir, in); err == nil {
		t.Error("no file: no error")
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("NOTICE", "by somebody")
	write("license.go", "package x")
	if _, err := licencesIn(dir, in); err == nil {
		t.Error("a notice alone: no error")
	}
	write("LICENSE", "you may not")
	if _, err := licencesIn(dir, in); err == nil || !strings.Contains(err.Error(), "LICENSE") {
		t.Errorf("unknown licence: %v", err)
	}
}

func TestDocumentsAreTheSameAgain(t *testing.T) {
	parts := []part{{Path: "m", Licences: []licence{{"LICENSE", []byte("a\n\n b\n"), "MIT"}}},
		{Path: "x.org/y z", Version: "v1.0.0+incompatible", Sum: "h1:" + strings.Repeat("A", 43) + "=", Licences: []licence{{"LICENSE", []byte("a b"), "MIT"}, {"COPYING", []byte("c"), "MIT"}}}}
	one, err := cycloneDX(parts, "v1", time.Unix(0, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	two, _ := cycloneDX(parts, "v1", time.Unix(0, 0).UTC())
	other, _ := cycloneDX(parts, "v2", time.Unix(0, 0).UTC())
	if !bytes.Equal(one, two) || bytes.Equal(one, other) {
		t.Error("documents are not what their content says")
	}
	if !bytes.Contains(one, []byte(`"pkg:golang/x.org/y%20z@v1.0.0%2Bincompatible"`)) {
		t.Errorf("%s", one)
	}
	got, beside := copyright(parts)
	if beside != "" {
		t.Errorf("beside: %q", beside)
	}
	_, got, _ = strings.Cut(got, "below.\n")
	want := "\nFiles: *\nCopyright: see the licence below\nLicense: MIT\n" +
		"\nFiles: linked/x.org/y z/*\nCopyright: see the licence below\nLicense: MIT and MIT~2\nComment: version v1.0.0+incompatible, under MIT\n" +
		"\nLicense: MIT\n a\n .\n  b\n\nLicense: MIT~2\n c\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
