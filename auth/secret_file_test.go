package auth_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/auth"
)

func TestReadSecret(t *testing.T) {
	const hidden = "tr0ub4dor"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // empty: an error
		says string
	}{
		"one line":              {hidden, 0o600, hidden, ""},
		"line end":              {hidden + "\n", 0o640, hidden, ""},
		"blanks and windows":    {"  Bearer " + hidden + " \r\nrest of " + hidden, 0o400, "Bearer " + hidden, ""},
		"world-readable":        {hidden, 0o644, "", "everybody may read it (mode 0644); run: chmod o-rwx"},
		"world-writable":        {hidden, 0o602, "", "everybody may write it"},
		"empty":                 {"", 0o600, "", "is empty"},
		"empty first line":      {"\n" + hidden, 0o600, "", "its first line is empty; write the secret there"},
		"control character":     {hidden + "\x00" + hidden, 0o600, "", "holds a control character"},
		"a header within":       {hidden + "\rX-Admin: 1", 0o600, "", "holds a control character"},
		"larger than it can be": {strings.Repeat(hidden, auth.MaxSecret/len(hidden)+1), 0o600, "", "is larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			s, err := auth.ReadSecret(path)
			if c.want != "" {
				if err != nil || string(s.Reveal()) != c.want {
					t.Fatalf("got %q, %v", s.Reveal(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q and the path", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), hidden) || s.Present() {
				t.Errorf("the secret is in the error %v, or there is one: %t", err, s.Present())
			}
		})
	}
	t.Run("a pipe does not hang", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.ReadSecret(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("error %v", err)
		}
	})
}
