package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const hidden = "tr0ub4dor"

// TestSecretRefShowsNoSecret tries every way to print what somebody has put
// where a reference belongs, alone and within the configuration.
func TestSecretRefShowsNoSecret(t *testing.T) {
	for _, bad := range []SecretRef{hidden, "Bearer " + hidden, "File:/" + hidden, "file:" + hidden, "env:" + hidden + "!", "credential:/" + hidden, "/" + hidden, "https://a:" + hidden + "@b"} {
		cfg := DefaultConfig()
		cfg.Access.HTTP.URL, cfg.Access.HTTP.Authorization = "https://a.example/", bad
		var out bytes.Buffer
		for _, v := range []any{bad, &bad, []SecretRef{bad}, map[string]SecretRef{"a": bad}, cfg, &cfg, cfg.Access.HTTP} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			if b, err := json.Marshal(v); err == nil {
				out.Write(b)
			}
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		}
		fmt.Fprintln(&out, cfg.Validate(), bad.check())
		_, err := bad.read()
		fmt.Fprintln(&out, err, new(SecretRef).UnmarshalText([]byte(bad)))
		_, err = New(cfg)
		fmt.Fprintln(&out, err)
		if err == nil {
			t.Errorf("%d characters of a secret are taken for a reference", len(bad))
		}
		if hex := fmt.Sprintf("%x", hidden); strings.Contains(out.String(), hidden) || strings.Contains(out.String(), hex) {
			t.Errorf("shown:\n%s", out.String())
		}
	}
}

// Whatever stands there is refused without being shown, or is a reference and
// comes through as it is.
func TestSecretRefIsOneOrTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`(file|env|credential):[/a-zA-Z0-9_. \-]{0,12}`),
		).Draw(t, "text")
		var r SecretRef
		err := r.UnmarshalText([]byte(text))
		switch {
		case err == nil && r.String() != text:
			t.Fatalf("%q became %q", text, r)
		case err == nil && text != "" && !strings.HasPrefix(text, secretFile+"/") && !strings.HasPrefix(text, secretEnv) && !strings.HasPrefix(text, secretCredential):
			t.Fatalf("%q is taken for a reference", text)
		case err != nil && r != "":
			t.Fatal("refused and kept")
		case err != nil && len(text) > 20 && strings.Contains(err.Error(), text):
			t.Fatalf("shown: %v", err)
		}
	})
}

func TestSecretRefRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", hidden+"\n", 0o600)
	open := write("open", hidden, 0o644)
	t.Setenv("EB_TEST_SECRET", " "+hidden+"\n")
	t.Setenv("EB_TEST_EMPTY", "")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, c := range []struct{ ref, says string }{
		{"file:" + good, ""},
		{"env:EB_TEST_SECRET", ""},
		{"credential:good", ""},
		{"file:" + open, "open: everybody may read it (mode 0644); run: chmod o-rwx " + open},
		{"credential:open", "open: everybody may read it"},
		{"credential:absent", "no such file"},
		{"file:" + dir, "is not a regular file"},
		{"env:EB_TEST_EMPTY", "EB_TEST_EMPTY: its first line is empty"},
		{"env:EB_TEST_ABSENT", "EB_TEST_ABSENT is not set; set it, or use a file"},
	} {
		s, err := SecretRef(c.ref).read()
		switch {
		case c.says == "" && (err != nil || string(s.Reveal()) != hidden):
			t.Errorf("%s: %v, %d bytes", c.ref, err, len(s.Reveal()))
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), hidden)):
			t.Errorf("%s: %v, want %q", c.ref, err, c.says)
		}
	}
	if v := os.Getenv("EB_TEST_SECRET"); v == "" {
		t.Error("a reload could not read the variable again")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := SecretRef("credential:good").read(); !errors.Is(err, ErrNoCredentials) || !strings.Contains(err.Error(), "LoadCredential=good:") {
		t.Errorf("without credentials: %v", err)
	}
}

// What only a unit passes is not missed on the command line, but said; in the
// unit it is an error.
func TestCheckFilesWithoutCredentials(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Listeners[0].PrivateKey = "credential:key"
	cfg.Access.Passwords, cfg.Access.Tokens.KeyFile = "credential:users", "credential:token.pem"
	cfg.Access.HTTP.URL, cfg.Access.HTTP.Authorization = "https://a.example/", "env:EB_TEST_ABSENT"
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	warnings, err := cfg.CheckFiles()
	if err != nil || len(warnings) != 4 {
		t.Errorf("%d warnings, %v", len(warnings), err)
	}
	for i, key := range []string{"access.passwords: ", "access.tokens.key_file: ", "access.http.authorization: ", "listeners[0].key: "} {
		if i < len(warnings) && !strings.HasPrefix(warnings[i], key) {
			t.Errorf("warning %q, want one of %s", warnings[i], key)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	if _, err := cfg.CheckFiles(); !errors.Is(err, ErrAccess) {
		t.Errorf("credentials that are missing: %v", err)
	}
}
