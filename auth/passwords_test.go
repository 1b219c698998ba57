package auth_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/synthetism/edgebroker/auth"
)

// TestHashKinds checks passwords against what the usual tools have written.
func TestHashKinds(t *testing.T) {
	for _, c := range []struct{ kind, hash, password string }{
		{"argon2id m=256,t=2,p=1", argon, password},
		{"argon2id m=64,t=1,p=2", argonU, umlauts},
		{"bcrypt 4", bcrypt4, password},
		{"bcrypt 4", strings.Replace(bcrypt4, "$2y$", "$2a$", 1), password},
		{"bcrypt 5", bcryptU, umlauts},
		{"mosquitto $6$", sha6, password},
		{"mosquitto $7$ 101", pbkdf7, password},
		{"mosquitto $7$ 101", pbkdf7U, umlauts},
	} {
		t.Run(c.kind, func(t *testing.T) {
			f := loadUsers(t, "ann:"+c.hash+":ops, night shift,ops\n")
			if got := f.Users()[0]; got.Kind != c.kind || got.Name != "ann" || got.Line != 1 {
				t.Errorf("listed as %+v", got)
			}
			id, err := f.Authenticate(t.Context(), login("ann", c.password))
			if err != nil || id.Name != "ann" || id.Source != "password" || !slices.Equal(id.Groups, []string{"ops", "night shift"}) || !id.NotAfter.IsZero() {
				t.Errorf("right password: %+v, %v", id, err)
			}
			for _, wrong := range []string{"", c.password + " ", c.password[1:], strings.ToUpper(c.password), c.password + "\x01", c.hash} {
				_, err := f.Authenticate(t.Context(), login("ann", wrong))
				want(t, "wrong password", outcome(err), "refused")
			}
			_, err = f.Authenticate(t.Context(), login("bob", c.password))
			want(t, "unknown user", outcome(err), "pass")
		})
	}
}

func TestHashPasswordRoundTrip(t *testing.T) {
	secret := auth.GeneratePassword()
	one, err := auth.HashPassword(secret)
	if err != nil {
		t.Fatal(err)
	}
	two, err := auth.HashPassword(secret)
	if err != nil || one == two {
		t.Fatalf("two hashes of one password: %v, equal %v", err, one == two)
	}
	f := loadUsers(t, "ann:"+one)
	if _, err := f.Authenticate(t.Context(), login("ann", string(secret.Reveal()))); err != nil {
		t.Error(err)
	}
	if _, err := auth.HashPassword(auth.NewSecret(nil)); err == nil {
		t.Error("hashed an empty password")
	}
}

func TestPasswordFilePasses(t *testing.T) {
	f := loadUsers(t, "ann:"+pbkdf7)
	noPassword := login("ann", "")
	noPassword.Password = auth.Secret{}
	noName := login("", password)
	noName.HasUsername = false
	for name, a := range map[string]*auth.Attempt{"no password": noPassword, "no name": noName, "nothing": {}} {
		_, err := f.Authenticate(t.Context(), a)
		want(t, name, outcome(err), "pass")
	}
	nobody := loadUsers(t, "# no users\n\n")
	_, err := nobody.Authenticate(t.Context(), login("ann", password))
	want(t, "file without users", outcome(err), "pass")
}

func TestPasswordFileForms(t *testing.T) {
	f := loadUsers(t, "# comment: with:colons\r\n\n  # indented\nann:"+pbkdf7+"\r\n\nJosé Ü:"+sha6+":a,b\nlast:"+argon)
	var names []string
	for _, u := range f.Users() {
		names = append(names, u.Name)
	}
	if !slices.Equal(names, []string{"ann", "José Ü", "last"}) {
		t.Errorf("users are %q", names)
	}
	for _, n := range names {
		if _, err := f.Authenticate(t.Context(), login(n, password)); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

// TestPasswordFileProblems: each broken line is an error that names the file
// and line, and shows nothing of a hash.
func TestPasswordFileProblems(t *testing.T) {
	const b22, b43 = "c29tZXNhbHRzYWx0c29tZQ", "jqGaMZtTJSXUfnikrl4JR7vu1mOM4PAmibiOTs8IJGI"
	for _, c := range []struct{ name, line, says string }{
		{"plain text", "ann:hunter2secret", "unknown kind"},
		{"no hash", "ann", "no hash"},
		{"empty hash", "ann:", "no hash"},
		{"no name", ":" + pbkdf7, "name is empty"},
		{"not UTF-8", "a\xffn:" + pbkdf7, "UTF-8"},
		{"control character", "a\x1bn:" + pbkdf7, "U+001B"},
		{"line separator", "a\u2028n:" + pbkdf7, "U+2028"},
		{"byte order mark", "\ufeffann:" + pbkdf7, "byte order mark"},
		{"space around", "ann :" + pbkdf7, "space"},
		{"long name", strings.Repeat("a", auth.MaxName+1) + ":" + pbkdf7, "257 bytes"},
		{"colon in name", "a:b:" + pbkdf7, "unknown kind"},
		{"empty group", "ann:" + pbkdf7 + ":", "group 1: name is empty"},
		{"empty last group", "ann:" + pbkdf7 + ":a,", "group 2: name is empty"},
		{"colon in group", "ann:" + pbkdf7 + ":a:b", "group 1"},
		{"too many groups", "ann:" + pbkdf7 + ":" + strings.Repeat("a,", auth.MaxGroups) + "a", "65 groups"},
		{"4 GiB", "ann:$argon2id$v=19$m=4194304,t=1,p=1$" + b22 + "$" + b43, "m is outside 1 to 19456"},
		{"huge m", "ann:$argon2id$v=19$m=99999999999999999999999,t=1,p=1$" + b22 + "$" + b43, "m is outside"},
		{"many passes", "ann:$argon2id$v=19$m=64,t=17,p=1$" + b22 + "$" + b43, "t is outside"},
		{"many lanes", "ann:$argon2id$v=19$m=64,t=1,p=5$" + b22 + "$" + b43, "p is outside"},
		{"no passes", "ann:$argon2id$v=19$m=64,t=0,p=1$" + b22 + "$" + b43, "t is outside"},
		{"no lanes", "ann:$argon2id$v=19$m=64,t=1,p=0$" + b22 + "$" + b43, "p is outside"},
		{"little memory", "ann:$argon2id$v=19$m=8,t=1,p=2$" + b22 + "$" + b43, "m is below 16"},
		{"sign", "ann:$argon2id$v=19$m=+64,t=1,p=1$" + b22 + "$" + b43, "m is not a number"},
		{"leading zero", "ann:$argon2id$v=19$m=064,t=1,p=1$" + b22 + "$" + b43, "m is not a number"},
		{"other order", "ann:$argon2id$v=19$t=1,m=64,p=1$" + b22 + "$" + b43, "form"},
		{"old version", "ann:$argon2id$v=16$m=64,t=1,p=1$" + b22 + "$" + b43, "form"},
		{"short key", "ann:$argon2id$v=19$m=64,t=1,p=1$" + b22 + "$c2hvcnQ", "form"},
		{"long key", "ann:$argon2id$v=19$m=64,t=1,p=1$" + b22 + "$" + strings.Repeat("AAAA", 30), "form"},
		{"short salt", "ann:$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + b43, "form"},
		{"argon2i", "ann:$argon2i$v=19$m=64,t=1,p=1$" + b22 + "$" + b43, "unknown kind"},
		{"bcrypt cost", "ann:" + strings.Replace(bcrypt4, "$04$", "$31$", 1), "cost is outside 4 to 14"},
		{"bcrypt low cost", "ann:" + strings.Replace(bcrypt4, "$04$", "$03$", 1), "cost is outside"},
		{"bcrypt cut", "ann:" + bcrypt4[:59], "bcrypt hash is not of the form"},
		{"bcrypt character", "ann:" + bcrypt4[:59] + "=", "bcrypt hash is not of the form"},
		{"iterations", "ann:" + strings.Replace(pbkdf7, "$101$", "$4000000000$", 1), "iterations is outside"},
		{"no iterations", "ann:" + strings.Replace(pbkdf7, "$101$", "$0$", 1), "iterations is outside"},
		{"no salt", "ann:$7$101$$" + strings.Split(pbkdf7, "$")[4], "salt"},
		{"cut hash", "ann:" + pbkdf7[:len(pbkdf7)-4], "hash is not 64 bytes"},
		{"salt of $6$", "ann:" + strings.Replace(sha6, "$6$B8", "$6$*8", 1), "salt"},
		{"md5", "ann:$apr1$abc$defghijk", "unknown kind"},
		{"repeated", "zoe:" + sha6, "already in line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "zoe:"+pbkdf7+"\n# x\n"+c.line+"\n")
			f, err := auth.LoadPasswordFile(path, newVerifier(t))
			if err == nil || f != nil {
				t.Fatal("loaded")
			}
			if text := err.Error(); !strings.Contains(text, path+":3: ") || !strings.Contains(text, c.says) {
				t.Errorf("error is %q, should name the line and say %q", text, c.says)
			}
			for _, secret := range []string{"hunter2", b22, b43, "TaRwtaIY", "B8FCgas", "Wds2vEx"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error shows the hash: %v", err)
				}
			}
		})
	}
}

func TestPasswordFileReportsManyProblems(t *testing.T) {
	for lines, reported := range map[int]int{1: 1, 9: 9, 10: 11, 11: 11, auth.MaxPasswordFile / 2: 11} { // with a last word
		_, err := auth.LoadPasswordFile(write(t, strings.Repeat("x\n", lines)), newVerifier(t))
		if err == nil || strings.Count(err.Error(), "\n")+1 != reported || strings.Contains(err.Error(), "was not read") != (lines >= 10) {
			t.Errorf("%d broken lines: %v", lines, err)
		}
	}
}

func TestPasswordFileMustBeSafe(t *testing.T) {
	v := newVerifier(t)
	good := "ann:" + pbkdf7 + "\n"
	for mode, says := range map[os.FileMode]string{
		0o604: "chmod o-rwx", 0o602: "chmod o-rwx", 0o644: "chmod o-rwx", 0o601: "chmod o-rwx",
		0o600: "", 0o640: "", 0o400: "", 0o660: "",
	} {
		path := write(t, good)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := auth.LoadPasswordFile(path, v)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, says string }{
		"missing":    {filepath.Join(dir, "none"), "no such file"},
		"folder":     {dir, "not a regular file"},
		"fifo":       {fifo, "not a regular file"},
		"empty":      {write(t, ""), "is empty"},
		"only lines": {write(t, "\n\n"), "neither users nor a comment"},
		"oversized":  {write(t, good+strings.Repeat("#", auth.MaxPasswordFile)), "larger than 4096 KiB"},
	} {
		f, err := auth.LoadPasswordFile(c.path, v)
		if err == nil || f != nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReloadKeepsOld: a broken new file leaves the old value as it was.
func TestReloadKeepsOld(t *testing.T) {
	path := write(t, "ann:"+pbkdf7)
	v := newVerifier(t)
	f, err := auth.LoadPasswordFile(path, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("ann:"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.LoadPasswordFile(path, v); err == nil {
		t.Error("loaded a broken file")
	}
	if _, err := f.Authenticate(t.Context(), login("ann", password)); err != nil {
		t.Error(err)
	}
}

func TestPasswordFileEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := loadUsers(t, "ann:"+pbkdf7).Authenticate(ctx, login("ann", password))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
