package auth_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/synthetism/edgebroker/auth"
)

// Hashes of "correct horse", cheap ones, as other tools have written them.
const (
	password = "correct horse"
	argon    = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHRzYWx0$jqGaMZtTJSXUfnikrl4JR7vu1mOM4PAmibiOTs8IJGI"                        // argon2 -id -t 2 -k 256 -p 1 -e
	bcrypt4  = "$2y$04$TaRwtaIYAUlK5gUEECwPy../b88.YfPtPFaAD3WwSmCYAfggSLN9u"                                                     // htpasswd -nbB -C 4
	sha6     = "$6$B8FCgas+HYs3ApDi$h+e0h6z7pyxH48fEqtYNEfyq6n+msuS8g/akduBVmqzSzFRPmj7djTU+bIRfe6Ej5lB8Qk0pedZ33n7SKfsN4A=="     // mosquitto_passwd -H sha512
	pbkdf7   = "$7$101$Wds2vExPEjFLP+EK$RbFpLslJcSLdZc2YprIjhZwlZklNNYjb+W1TlkUXWy1RXiKVr5MEEyz29xxL4LU+V202hKShze9jJldoK57uBA==" // mosquitto_passwd
	umlauts  = "pässwörd:€"                                                                                                       // and those of this one
	argonU   = "$argon2id$v=19$m=64,t=1,p=2$MDEyMzQ1Njc4OWFiY2RlZg$MZcXZiBfD1NYHUXPB5XzCQ"                                        // argon2 -id -t 1 -k 64 -p 2 -l 16 -e
	bcryptU  = "$2y$05$1zOKAx0nEtHlc6sFPRYVI.0tZGM0i416CnPK7ryUd7LGG0.gVMwoe"                                                     // htpasswd -nbB -C 5
	pbkdf7U  = "$7$101$etZar80B3fe2dwka$zS2FwUZFhoXLaClmHggPni/2ETb5q/Y/fqD776BIInP3pzuHYj6PND55aXZm4991sr+yvq56YW61X6XVz74imQ==" // mosquitto_passwd
)

func newVerifier(t testing.TB) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(auth.DefaultVerifierLimits())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// write makes a file that only its owner may read.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func loadUsers(t testing.TB, text string) *auth.PasswordFile {
	t.Helper()
	f, err := auth.LoadPasswordFile(write(t, text), newVerifier(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// login is an attempt with user name and password from 192.0.2.1.
func login(name, password string) *auth.Attempt {
	return &auth.Attempt{
		Listener: "local", ClientID: "c1", Addr: netip.MustParseAddr("192.0.2.1"),
		Username: name, HasUsername: true, Password: auth.NewSecret([]byte(password)),
	}
}

// outcome is what an answer of a source says, in a word.
func outcome(err error) string {
	var locked *auth.LockedError
	switch {
	case err == nil:
		return "in"
	case errors.Is(err, auth.ErrPass):
		return "pass"
	case errors.As(err, &locked):
		return "locked"
	case errors.Is(err, auth.ErrStale):
		return "stale"
	case errors.Is(err, auth.ErrRefused):
		return "refused"
	case errors.Is(err, auth.ErrBusy):
		return "busy"
	}
	return "failure"
}

func want(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}
