package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

// fixed answers always the same and counts how often.
type fixed struct {
	id    auth.Identity
	err   error
	asked int
}

func (f *fixed) Authenticate(context.Context, *auth.Attempt) (auth.Identity, error) {
	f.asked++
	return f.id, f.err
}

func TestChain(t *testing.T) {
	in := func() *fixed { return &fixed{id: auth.Identity{Name: "ann", Source: "test"}} }
	out := func(err error) *fixed { return &fixed{err: err} }
	named := func(name string, groups ...string) *fixed {
		return &fixed{id: auth.Identity{Name: name, Groups: groups}}
	}
	for name, c := range map[string]struct {
		sources []*fixed
		want    string
		asked   int
	}{
		"nothing":           {nil, "refused", 0},
		"all pass":          {[]*fixed{out(auth.ErrPass), out(fmt.Errorf("x: %w", auth.ErrPass))}, "refused", 2},
		"first decides":     {[]*fixed{in(), out(auth.ErrRefused)}, "in", 1},
		"pass, in":          {[]*fixed{out(auth.ErrPass), in()}, "in", 2},
		"refused stops":     {[]*fixed{out(auth.ErrRefused), in()}, "refused", 1},
		"stale stops":       {[]*fixed{out(auth.ErrStale), in()}, "stale", 1},
		"busy stops":        {[]*fixed{out(auth.ErrBusy), in()}, "busy", 1},
		"failure stops":     {[]*fixed{out(errors.New("down")), in()}, "failure", 1},
		"no name":           {[]*fixed{named(""), in()}, "failure", 1},
		"name not UTF-8":    {[]*fixed{named("\xff"), in()}, "failure", 1},
		"name with control": {[]*fixed{named("a\x7f"), in()}, "failure", 1},
		"group with break":  {[]*fixed{named("a", "b\n"), in()}, "failure", 1},
		"group too long":    {[]*fixed{named("a", strings.Repeat("b", auth.MaxName+1)), in()}, "failure", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var sources []auth.Source
			for _, s := range c.sources {
				sources = append(sources, s)
			}
			id, err := auth.Chain(sources...).Authenticate(t.Context(), login("ann", "x"))
			want(t, "outcome", outcome(err), c.want)
			if err != nil && id.Name != "" {
				t.Errorf("error and identity %+v", id)
			}
			asked := 0
			for _, s := range c.sources {
				asked += s.asked
			}
			if asked != c.asked {
				t.Errorf("asked %d sources, want %d", asked, c.asked)
			}
		})
	}
	_, err := auth.Chain(out(auth.ErrPass)).Authenticate(t.Context(), &auth.Attempt{ClientID: "c"})
	want(t, "who shows nothing", outcome(err), "stale")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := in()
	if _, err := auth.Chain(s).Authenticate(ctx, login("ann", "x")); !errors.Is(err, context.Canceled) || s.asked != 0 {
		t.Errorf("after the end of its context: %v", err)
	}
}

// TestFloor: refusals take equally long whoever refuses; others are not held up.
func TestFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := func(d time.Duration, err error) auth.Source {
			return auth.SourceFunc(func(context.Context, *auth.Attempt) (auth.Identity, error) {
				time.Sleep(d)
				return auth.Identity{Name: "ann"}, err
			})
		}
		for _, c := range []struct {
			takes, want time.Duration
			err         error
		}{
			{0, time.Second, auth.ErrRefused},
			{900 * time.Millisecond, time.Second, auth.ErrStale},
			{2 * time.Second, 2 * time.Second, auth.ErrRefused},
			{time.Millisecond, time.Millisecond, nil},
			{time.Millisecond, time.Millisecond, auth.ErrBusy},
		} {
			begun := time.Now()
			_, err := auth.Floor(time.Second, after(c.takes, c.err)).Authenticate(t.Context(), login("ann", "x"))
			if d := time.Since(begun); d != c.want || !errors.Is(err, c.err) {
				t.Errorf("%v after %v: answered after %v, want %v", c.err, c.takes, d, c.want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := auth.Floor(time.Hour, after(0, auth.ErrRefused)).Authenticate(ctx, login("ann", "x"))
		if time.Since(begun) != time.Millisecond || outcome(err) != "refused" {
			t.Errorf("after the end of its context: %v", err)
		}
	})
}

// TestSecretDoesNotShow tries each way in which Go prints values.
func TestSecretDoesNotShow(t *testing.T) {
	const text = "hunter2"
	s := auth.NewSecret([]byte(text))
	a := &auth.Attempt{Username: "ann", Password: s}
	hidden := struct{ s auth.Secret }{s} // fmt asks no methods of unexported fields
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%8.3v"} {
		for _, value := range []any{s, &s, a, *a, []auth.Secret{s}, map[string]auth.Secret{"x": s}, hidden, &hidden, errors.New(fmt.Sprint(s))} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	if err := json.NewEncoder(&out).Encode([]any{s, a, map[string]any{"x": s}}); err != nil {
		t.Fatal(err)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "secret", s, "attempt", a, "value", *a, "hidden", hidden)
	}
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), fmt.Sprint([]byte(text)), "aHVudGVyM", "104, 117"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("shows %q", form)
		}
	}
	if string(s.Reveal()) != text || !s.Present() || !strings.Contains(out.String(), "[redacted]") {
		t.Error("lost the secret")
	}
	if empty := auth.NewSecret(nil); !empty.Present() || (auth.Secret{}).Present() || (auth.Secret{}).Reveal() != nil {
		t.Error("absent and empty are confused")
	}
}

func TestGeneratePassword(t *testing.T) {
	form := regexp.MustCompile(`^([2-9a-km-np-z]{4}-){6}[2-9a-km-np-z]{4}$`)
	seen := map[string]bool{}
	letters := map[rune]int{}
	const n = 2000
	for range n {
		p := string(auth.GeneratePassword().Reveal())
		if !form.MatchString(p) || seen[p] {
			t.Fatalf("%q", p)
		}
		seen[p] = true
		for _, r := range strings.ReplaceAll(p, "-", "") {
			letters[r]++
		}
	}
	if bits := 28 * math.Log2(float64(len(letters))); bits < 128 {
		t.Errorf("%d letters make %.0f bits", len(letters), bits)
	}
	for r, count := range letters {
		if expected := n * 28 / 32; count < expected*8/10 || count > expected*12/10 {
			t.Errorf("%c occurs %d times, expected %d", r, count, expected)
		}
	}
}

func TestAnonymous(t *testing.T) {
	if !(&auth.Attempt{ClientID: "c", Listener: "l"}).Anonymous() {
		t.Error("nothing to show is not anonymous")
	}
	if (&auth.Attempt{HasUsername: true}).Anonymous() || (&auth.Attempt{Password: auth.NewSecret(nil)}).Anonymous() {
		t.Error("an empty user name or password is anonymous")
	}
}
