package hooks_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/hooks"
	"github.com/synthetism/edgebroker/wire"
)

// users are ScramCredentials in a map.
type users map[string]hooks.ScramKeys

func (u users) ScramKeys(_ context.Context, user string) (hooks.ScramKeys, bool, error) {
	if user == "broken" {
		return hooks.ScramKeys{}, false, errors.New("disk on fire")
	}
	k, ok := u[user]
	return k, ok, nil
}

func keys(t testing.TB, password string) hooks.ScramKeys {
	t.Helper()
	k, err := hooks.NewScramKeys(password, hooks.MinScramIterations)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// login runs a whole exchange of client and method. The error is the method's.
func login(t testing.TB, m hooks.AuthMethod, name, password, authz string) (hooks.AuthStep, error) {
	t.Helper()
	c, err := scram.SHA256.NewClient(name, password, authz)
	if err != nil {
		t.Fatal(err)
	}
	conv := c.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		t.Fatal(err)
	}
	e := m.Begin(hooks.AuthPeer{})
	step, err := e.Step(t.Context(), []byte(first))
	if err != nil {
		return step, err
	}
	if step.Done || step.Username != "" {
		t.Fatalf("let in after one step: %+v", step)
	}
	second, err := conv.Step(string(step.Data))
	if err != nil {
		t.Fatal(err)
	}
	if step, err = e.Step(t.Context(), []byte(second)); err != nil {
		return step, err
	}
	if _, err := conv.Step(string(step.Data)); err != nil || !conv.Valid() {
		t.Errorf("the broker has not shown that it has the keys: %v", err)
	}
	if _, err := e.Step(t.Context(), []byte(second)); err == nil {
		t.Error("an exchange can be used twice")
	}
	return step, nil
}

func TestScram(t *testing.T) {
	incomplete := keys(t, "x")
	incomplete.StoredKey = nil
	m := hooks.ScramSHA256(users{"ann": keys(t, "pencil"), "a,b=c": keys(t, "ü\u00a0x"), "": keys(t, "empty"), "half": incomplete})
	if m.Name() != "SCRAM-SHA-256" {
		t.Errorf("it is called %q", m.Name())
	}
	for _, tc := range []struct {
		name, password, authz string
		want                  wire.Reason
	}{
		{"ann", "pencil", "", wire.Success},
		{"ann", "pencil", "ann", wire.Success},
		{"a,b=c", "ü x", "", wire.Success}, // SASLprep makes the spaces one
		{"", "empty", "", wire.Success},
		{"ann", "pencil", "bob", wire.NotAuthorized},
		{"ann", "Pencil", "", wire.NotAuthorized},
		{"ann", "", "", wire.NotAuthorized},
		{"Ann", "pencil", "", wire.NotAuthorized},
		{"nobody", "pencil", "", wire.NotAuthorized},
		{"nobody", "", "", wire.NotAuthorized},
		{"broken", "pencil", "", wire.ServerBusy},
		{"half", "x", "", wire.ServerBusy},
	} {
		step, err := login(t, m, tc.name, tc.password, tc.authz)
		got := wire.ReasonOf(err)
		if err != nil && got == wire.UnspecifiedError {
			got = wire.NotAuthorized
		}
		if got != tc.want || step.Done != (err == nil) || err == nil && step.Username != tc.name {
			t.Errorf("%q with %q as %q: %+v, %v", tc.name, tc.password, tc.authz, step, err)
		}
		if err != nil && (strings.Contains(err.Error(), "pencil") || strings.Contains(err.Error(), "nobody")) {
			t.Errorf("the error tells what the client sent: %v", err)
		}
	}
}

// Who asks for a user that does not exist sees what he would see of one that
// does: a salt that stays, the usual work, and "no" at the end.
func TestScramUnknownUser(t *testing.T) {
	m := hooks.ScramSHA256(users{"ann": keys(t, "pencil")})
	first := func(name string) map[string]string {
		step, err := m.Begin(hooks.AuthPeer{}).Step(t.Context(), []byte("n,,n="+name+",r=nonce"))
		if err != nil || step.Done {
			t.Fatalf("%+v, %v", step, err)
		}
		out := map[string]string{}
		for _, f := range strings.Split(string(step.Data), ",") {
			out[f[:1]] = f[2:]
		}
		return out
	}
	ann, nobody, again, other := first("ann"), first("nobody"), first("nobody"), first("other")
	if len(ann["s"]) != len(nobody["s"]) || len(ann["r"]) != len(nobody["r"]) || ann["i"] != nobody["i"] {
		t.Errorf("%v differs from %v", nobody, ann)
	}
	if nobody["s"] != again["s"] || nobody["s"] == other["s"] || nobody["r"] == again["r"] {
		t.Errorf("%v, %v, %v", nobody, again, other)
	}
}

func TestNewScramKeys(t *testing.T) {
	a, b := keys(t, "pencil"), keys(t, "pencil")
	if string(a.Salt) == string(b.Salt) || string(a.StoredKey) == string(b.StoredKey) {
		t.Error("two users with one password can be told to have it")
	}
	if _, err := hooks.NewScramKeys("pencil", hooks.MinScramIterations-1); err == nil {
		t.Error("too few iterations are accepted")
	}
	if _, err := hooks.NewScramKeys("pencil\u0007secret", hooks.MinScramIterations); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a control character: %v", err)
	}
}

// No bytes let anybody in, and none panic.
func TestScramHostile(t *testing.T) {
	m := hooks.ScramSHA256(users{"ann": keys(t, "pencil")})
	rapid.Check(t, func(rt *rapid.T) {
		first := rapid.OneOf(
			rapid.SampledFrom([]string{"n,,n=ann,r=x", "y,,n=ann,r=", "p=tls-exporter,,n=ann,r=x", "n,a=ann,n=ann,r=x", "n,,n=nobody,r=x"}),
			rapid.StringMatching(`[nyp]?(,[anrm]?=?[a-z,=]{0,5}){0,5}`), rapid.String(),
		).Draw(rt, "first")
		e := m.Begin(hooks.AuthPeer{})
		step, err := e.Step(rt.Context(), []byte(first))
		if err != nil {
			return
		}
		nonce, _, _ := strings.Cut(string(step.Data), ",")
		proof := base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "proof"))
		second := rapid.OneOf(
			rapid.Just("c="+base64.StdEncoding.EncodeToString([]byte("n,,"))+","+nonce+",p="+proof),
			rapid.Just("c="+base64.StdEncoding.EncodeToString([]byte("n,,"))+","+nonce+","),
			rapid.StringMatching(`(c=[A-Za-z0-9+/=]{0,9})?(,[rpm]=[A-Za-z=]{0,5}){0,3}`), rapid.String(),
		).Draw(rt, "second")
		if step, err = e.Step(rt.Context(), []byte(second)); err == nil || step.Done {
			rt.Fatalf("let in: %+v", step)
		}
	})
}
