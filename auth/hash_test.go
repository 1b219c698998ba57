package auth

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// counted is a hash that counts what is done with it, and its dummies.
type counted struct {
	is    string
	tally map[string]int
}

func (h *counted) matches([]byte) bool { h.tally[h.is]++; return h.is == "" }
func (h *counted) kind() string        { return h.is }
func (h *counted) memory() int64       { return 1 }
func (h *counted) dummy() hash         { return never{h} }

// TestUnknownUserLooksLikeAny: unknown users cost one verification each, of
// the kinds in the file in proportion, and the same user always the same kind.
func TestUnknownUserLooksLikeAny(t *testing.T) {
	v, err := NewVerifier(DefaultVerifierLimits())
	if err != nil {
		t.Fatal(err)
	}
	tally := map[string]int{}
	f := &PasswordFile{verifier: v, users: map[string]*user{}}
	for i := range 100 {
		kind := "common"
		if i%4 == 0 {
			kind = "rare"
		}
		u := &user{name: fmt.Sprint("known", i), hash: &counted{kind, tally}}
		f.order = append(f.order, u)
		f.users[u.name] = u
	}
	f.dummies = dummies(f.order)
	const n = 20_000
	for i := range n {
		a := &Attempt{HasUsername: true, Username: fmt.Sprint("unknown", i), Password: NewSecret(nil)}
		before := tally["rare"]
		for range 2 {
			if _, err := f.Authenticate(t.Context(), a); err != ErrPass {
				t.Fatal(err)
			}
		}
		if tally["rare"] == before+1 {
			t.Fatal("one user looked like two kinds")
		}
	}
	if total := tally["rare"] + tally["common"]; total != 2*n {
		t.Errorf("%d verifications for %d attempts", total, 2*n)
	}
	if share := float64(tally["rare"]) / (2 * n); math.Abs(share-0.25) > 0.03 {
		t.Errorf("%.3f of unknown users look like a kind that a quarter has", share)
	}
}

// TestDummiesMatchNothing: not even the password of the hash that they are like.
func TestDummiesMatchNothing(t *testing.T) {
	secret := NewSecret([]byte("x"))
	text, err := HashPassword(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{text, "$2y$04$TaRwtaIYAUlK5gUEECwPy../b88.YfPtPFaAD3WwSmCYAfggSLN9u"} {
		h, err := parseHash(s, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		d := h.dummy()
		if d.kind() != h.kind() || d.memory() != h.memory() || d.matches([]byte("x")) || d.matches([]byte("correct horse")) {
			t.Errorf("dummy of %s is %s or matches", h.kind(), d.kind())
		}
	}
}

// FuzzPasswordFile: whatever is in a file, parsing ends without a panic, users
// have valid names and bounded hashes, and what an edit writes loads.
func FuzzPasswordFile(f *testing.F) {
	f.Add("# c\nann:$7$101$Wds2vExPEjFLP+EK$RbFpLslJcSLdZc2YprIjhZwlZklNNYjb+W1TlkUXWy1RXiKVr5MEEyz29xxL4LU+V202hKShze9jJldoK57uBA==:a,b\n")
	f.Add("x:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHRzYWx0$jqGaMZtTJSXUfnikrl4JR7vu1mOM4PAmibiOTs8IJGI\r\n")
	f.Add("y:$2y$04$TaRwtaIYAUlK5gUEECwPy../b88.YfPtPFaAD3WwSmCYAfggSLN9u:g\n\n:\n")
	f.Add("a:$6$AAAA$\na\n")
	v, err := NewVerifier(DefaultVerifierLimits())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, problems := parsePasswords([]byte(text), v)
		for _, u := range file.Users() {
			if err := checkFileName(u.Name); err != nil || u.Line < 1 || u.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("user %q in line %d: %v", u.Name, u.Line, err)
			}
			if m := file.users[u.Name].hash.memory(); m > v.limits.HashMemory {
				t.Fatalf("hash needs %d bytes", m)
			}
		}
		if len(problems) > 0 {
			return
		}
		edit := &PasswordEdit{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
		for _, u := range file.Users() {
			if err := edit.SetGroups(u.Name, []string{"g"}); err != nil {
				t.Fatal(err)
			}
		}
		again, problems := parsePasswords(edit.bytes(), v)
		if len(problems) > 0 || len(again.order) != len(file.order) {
			t.Fatalf("after an edit: %v", problems)
		}
	})
}
