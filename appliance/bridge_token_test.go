package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script writes a program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a program writes is the token; what goes wrong with it is said, and
// nothing of what it has written.
func TestRunTokenCommand(t *testing.T) {
	for name, tt := range map[string]struct{ text, want, err string }{
		"token":    {`echo "$1"`, "a b; $(id)", ""},
		"windows":  {`printf 'x\r\n'`, "x", ""},
		"largest":  {`head -c 65535 /dev/zero | tr '\0' x; echo`, strings.Repeat("x", 65535), ""},
		"fails":    {`echo s3cret; echo s3cret >&2; exit 3`, "", "exit status 3"},
		"killed":   {`kill -9 $$`, "", "signal: killed"},
		"nothing":  {`:`, "", "it has written nothing"},
		"too much": {`head -c 65536 /dev/zero | tr '\0' s`, "", "more than 65535 bytes"},
		"endless":  {`while :; do echo s3cret; done`, "", "more than 65535 bytes"},
		"hangs":    {`sleep 1000 & sleep 1000`, "", "it has not ended within 300ms"},
		"leaves":   {`sleep 1000 & echo s3cret`, "", ""}, // what holds its output open is not waited for
	} {
		t.Run(name, func(t *testing.T) {
			patience := 20 * time.Second
			if name == "hangs" {
				patience = 300 * time.Millisecond
			}
			begun := time.Now()
			token, err := run([]string{script(t, tt.text), "a b; $(id)"}, patience)
			switch {
			case name == "leaves":
				if err == nil || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got %q, %v", token, err)
				}
			case tt.err == "" && (err != nil || string(token) != tt.want):
				t.Errorf("got %.20q, %v", token, err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret")):
				t.Errorf("got %q, %v", token, err)
			}
			if d := time.Since(begun); d > 15*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
	if _, err := run([]string{"/nowhere/token"}, time.Second); err == nil || !strings.Contains(err.Error(), "/nowhere/token") {
		t.Errorf("got %v", err)
	}
}

// A token is used again for half its lifetime, unless it was refused.
func TestTokenLifetime(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	k := &tokens{args: []string{script(t, `echo x >>"$1"; wc -l <"$1"`), count}, lifetime: time.Hour}
	for i, tt := range []struct {
		before func()
		want   string
	}{
		{func() {}, "1"},
		{func() {}, "1"},
		{func() { k.at = k.at.Add(-29 * time.Minute) }, "1"},
		{func() { k.at = k.at.Add(-2 * time.Minute) }, "2"},
		{k.forget, "3"},
		{func() { k.lifetime = 0 }, "4"},
		{func() {}, "5"},
	} {
		tt.before()
		got, err := k.get()
		if err != nil || strings.TrimSpace(string(got)) != tt.want {
			t.Errorf("%d: got %q, %v; want %s", i, got, err, tt.want)
		}
	}
	if !k.renewal().IsZero() {
		t.Error("it is renewed, and nobody knows its lifetime")
	}
	k.lifetime = 10 * time.Minute
	if d := time.Until(k.renewal()); d > 9*time.Minute || d < 8*time.Minute {
		t.Errorf("it is renewed in %v", d)
	}
	k.args[0] = "/nowhere/token"
	k.forget()
	if _, err := k.get(); err == nil || !strings.HasPrefix(err.Error(), "password_command /nowhere/token: ") {
		t.Error(err)
	}
}

// An uplink without a user name may have a token, in MQTT 5 and NATS.
func TestTokenConfig(t *testing.T) {
	base := BridgeConfig{Name: "up", Address: "mqtts://far.example:8883", Topics: []BridgeTopic{{Filter: "#"}}}
	for i, tt := range []struct {
		change func(*BridgeConfig)
		want   string
	}{
		{func(b *BridgeConfig) { b.PasswordCommand = []string{"/bin/token", "x"} }, "[]"},
		{func(b *BridgeConfig) { b.PasswordCommand, b.TokenLifetime = []string{"/bin/token"}, time.Hour }, "[]"},
		{func(b *BridgeConfig) { b.PasswordCommand = []string{"token"} }, "not an absolute path"},
		{func(b *BridgeConfig) { b.TokenLifetime = time.Hour }, "there is no"},
		{func(b *BridgeConfig) { b.PasswordCommand, b.TokenLifetime = []string{"/t"}, time.Second }, "is less than 1m"},
		{func(b *BridgeConfig) {
			b.PasswordCommand, b.Username, b.Password = []string{"/t"}, "u", "file:/p"
		}, "there is a password besides"},
	} {
		b := base
		tt.change(&b)
		if got := fmt.Sprint(b.findings("bridges[0]")); !strings.Contains(got, tt.want) {
			t.Errorf("%d: %s", i, got)
		}
	}
	base.PasswordCommand = []string{"/bin/token"}
	base.Address = "natss://far.example:4222"
	if s := base.settings("n", "e", 1); s.NATS.Token == nil {
		t.Error("no token for NATS")
	}
}
