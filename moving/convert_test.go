package moving

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/moving/mosquitto"
)

// Any settings in any order come to a valid config, with a verdict for each
// line; and a listener to which nobody has opened the door has none.
func TestAnySettings(t *testing.T) {
	var lines []string
	for _, c := range optionCases() {
		lines = append(lines, c.line)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "acl"), "topic read a\nuser ann\ntopic b\npattern c/%c\n")
	write(t, filepath.Join(dir, "passwords"), "ann:$6$U+qg0/32F0g2Fh+n$fBPSkq/rfNyEQ/TkEjRgwGTTVBpvNhKSyGShovH9KHewsvJ731tD5Zx26IHhR5RYCICt0L9qBW0/KK31UkCliw==\n")
	if err := os.Mkdir(filepath.Join(dir, "empty.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "mosquitto.conf")
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfN(rapid.SampledFrom(lines), 0, 25).Draw(t, "lines")
		text := strings.ReplaceAll(strings.Join(chosen, "\n"), "DIR", dir)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		version := rapid.SampledFrom([]Version{Unknown, V1, V20, V21}).Draw(t, "version")
		r, err := Convert(Options{File: path, Dir: dir, Out: "/out", Data: "/data", Host: "host", Version: version})
		if err != nil {
			t.Fatal(err)
		}
		own := 0
		for _, e := range r.Report {
			if e.File == path && e.Line > 0 {
				own++
			}
			if e.Verdict == "" || e.Verdict != Converted && e.Note == "" || strings.Contains(e.Note, "was not converted") {
				t.Errorf("%+v says nothing", e)
			}
			if strings.Contains(e.Setting+e.Note, "hush-hush") || strings.Contains(e.Setting+e.Note, "feedf00d") {
				t.Errorf("%+v shows a secret", e)
			}
		}
		if own != len(chosen) {
			t.Errorf("%d lines, %d in the report", len(chosen), own)
		}
		for _, l := range r.Config.Listeners {
			if version != V1 && r.Config.Anonymous(l) && !l.Local() && !strings.Contains(text, "anonymous true") && !strings.Contains(text, "anonymous 1") {
				t.Errorf("everybody may come in at %s", l.Address)
			}
		}
		restricted := strings.Contains(text, "_file "+dir) || strings.Contains(text, "plugin /") || strings.Contains(text, "clientid_prefixes")
		if restricted && len(r.Config.Access.Rules) == 0 && !strings.Contains(text, "per_listener_settings true") {
			t.Errorf("there are no rules")
		}
	})
}

// How several settings together decide.
func TestSettingsTogether(t *testing.T) {
	const tls = "listener 8883 127.0.0.1\ncertfile /c\nkeyfile /k\ncafile /ca\nrequire_certificate true\nuse_identity_as_username true\n"
	for _, c := range []struct {
		text     string
		has, not string // in the config and the rules
	}{
		{"max_connections 5\nlistener 1884 127.0.0.1\n", "allow_anonymous: false", "allow_anonymous: true"},
		{"max_connections 5\n", "127.0.0.1:1883", "allow_anonymous: false"},
		{"acl_file DIR/acl\n", "allow_anonymous: false", "allow_anonymous: true"},
		{"listener 1884 127.0.0.1\n" + tls, "allow any all #", ""},
		{tls + "listener 1884 127.0.0.1\n", "allow any all #", "allow_anonymous: true"},
		{"per_listener_settings true\nglobal_plugin /p.so\nlistener 1884 127.0.0.1\nallow_anonymous true\n", "rules:", "allow any all #"},
		{"per_listener_settings true\nglobal_plugin /p.so\nlistener 1884 127.0.0.1\nallow_anonymous true\n", "rules:", "allow listener"},
		{"plugin /p.so\nacl_file DIR/acl\nlistener 1884 127.0.0.1\n", "allow any subscribe a", "allow any all"},
		{"per_listener_settings true\nlistener 1884 127.0.0.1\npassword_file DIR/passwords\nlistener 1885 127.0.0.1\n", "tcp-1884", "tcp-1885"},
		{"per_listener_settings true\nlistener 1884 127.0.0.1\npassword_file DIR/passwords\nlistener 1885 127.0.0.1\nallow_anonymous true\nacl_file DIR/acl\n", "allow listener=tcp-1885 subscribe a", "allow listener=tcp-1885 all"},
		{"clientid_prefixes d-\nlistener 1884 127.0.0.1\nallow_anonymous true\n", "allow client=d-* all #", "allow any"},
		{"clientid_prefixes d-\nacl_file DIR/acl\nlistener 1884 127.0.0.1\nallow_anonymous true\n", "allow client=d-* subscribe a", "allow any"},
		{"listener 1884 127.0.0.1\nallow_anonymous true\nlistener 8883\npsk_hint h\n", "tcp-1884", "8883"},
		{"allow_anonymous true\nlistener 1884 127.0.0.1\nuse_username_as_clientid true\n", "allow_anonymous: false", "allow_anonymous: true"},
	} {
		r, _ := imported(t, c.text, Unknown)
		var all []byte
		for _, f := range r.Files {
			all = append(all, f.Data...)
		}
		if !strings.Contains(string(all), c.has) || c.not != "" && strings.Contains(string(all), c.not) {
			t.Errorf("%q: has to have %q, and not %q\n%s", c.text, c.has, c.not, all)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]Version{"": Unknown, "1.6.9": V1, "1": V1, "2.0": V20, "2.0.11": V20, "2.1.2": V21, "2.10": V21} {
		if got, err := ParseVersion(s); got != want || err != nil {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"2", "3", "x", "3.0"} {
		if _, err := ParseVersion(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// Files that are there stay, unless they may be replaced; what is made is for
// its owner alone, whatever was there.
func TestWrite(t *testing.T) {
	r := &Result{Files: []File{{ConfigName, []byte("a")}, {UsersName, []byte("b")}}}
	dir := filepath.Join(t.TempDir(), "x", "y")
	check := func(want string) {
		t.Helper()
		for i, f := range r.Files {
			path := filepath.Join(dir, f.Name)
			got, err := os.ReadFile(path)
			if err != nil || string(got) != want[i:i+1] {
				t.Errorf("%s: got %q, %v", f.Name, got, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s has mode %v, %v", f.Name, info.Mode(), err)
			}
		}
	}
	if err := r.Write(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	check("ab")
	r.Files[0].Data, r.Files[1].Data = []byte("c"), []byte("d")
	if err := os.Remove(filepath.Join(dir, ConfigName)); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(t.Context(), dir, false); err == nil {
		t.Error("a file is replaced without leave")
	}
	if _, err := os.Stat(filepath.Join(dir, ConfigName)); err == nil {
		t.Error("a file is written beside one that stays")
	}
	if err := os.Chmod(filepath.Join(dir, UsersName), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(t.Context(), dir, true); err != nil {
		t.Fatal(err)
	}
	check("cd")
	if err := os.Remove(filepath.Join(dir, UsersName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, UsersName)); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(t.Context(), dir, true); err == nil {
		t.Error("writes through a link")
	}
}

// Whatever bytes the files hold, there is a valid config, and each line is in
// the report.
func FuzzConvert(f *testing.F) {
	for i, c := range optionCases() {
		if i%16 > 0 {
			continue // each takes as long as a config does
		}
		f.Add([]byte(strings.Replace(c.at, "%s", c.line, 1)), []byte("user a\ntopic read b/#\npattern deny %u\n"), []byte("a:$6$b$c\n"))
	}
	f.Fuzz(func(t *testing.T, conf, rules, passwords []byte) {
		if bytes.Contains(conf, []byte("include_dir")) {
			return // of this machine
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "mosquitto.conf")
		write(t, path, string(conf))
		write(t, filepath.Join(dir, "acl"), string(rules))
		write(t, filepath.Join(dir, "passwords"), string(passwords))
		r, err := Convert(Options{File: path, Dir: dir, Out: "/out", Data: "/data", Host: "host"})
		if err != nil {
			t.Fatalf("%v\n%s", err, r.Files[0].Data)
		}
		lines := mosquitto.ParseConf(path, conf)
		for _, e := range r.Report {
			if len(lines) > 0 && e.File == path && e.Line == lines[0].Number {
				lines = lines[1:]
			}
			if e.Verdict == "" || e.Verdict != Converted && e.Note == "" {
				t.Fatalf("%+v says nothing", e)
			}
		}
		if len(lines) > 0 {
			t.Fatalf("%+v is not in the report", lines[0])
		}
	})
}

// An included file begins with no listener and no bridge, and the one that
// includes it goes on with its own.
func TestIncludedFilesHaveTheirOwnPlace(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "one", "a.conf"), "listener 1885 127.0.0.1\nmax_connections 5\nconnection b\naddress h:2\ntopic y out\n")
	write(t, filepath.Join(dir, "two", "a.conf"), "topic z out\n")
	path := filepath.Join(dir, "mosquitto.conf")
	write(t, path, "listener 1884 127.0.0.1\nconnection a\naddress h:1\ninclude_dir "+dir+"/one\ninclude_dir two\nmax_connections 7\ntopic x out\n")
	r, err := Convert(Options{File: path, Dir: dir, Out: "/out", Host: "host"})
	if err != nil {
		t.Fatal(err)
	}
	if l := r.Config.Listeners; len(l) != 2 || l[0].MaxConnections != 7 || l[1].MaxConnections != 5 {
		t.Errorf("got %+v", l)
	}
	if b := r.Config.Bridges; len(b) != 2 || len(b[0].Topics) != 1 || b[0].Topics[0].Filter != "x" || len(b[1].Topics) != 1 || b[1].Topics[0].Filter != "y" {
		t.Errorf("got %+v", b)
	}
	for _, e := range r.Report {
		if (e.Setting == "topic z out") != e.Security {
			t.Errorf("got %+v", e)
		}
	}
}
