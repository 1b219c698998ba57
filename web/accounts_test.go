package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

func TestSessionsAreBounded(t *testing.T) {
	var lines []string
	for i := range 40 {
		lines = append(lines, line(fmt.Sprint("u", i), "x", ""))
	}
	a := NewAccounts()
	a.SetUsers(users(t, lines...))
	for i := range 40 {
		name := fmt.Sprint("u", i)
		m, _ := a.users.Mark(name)
		for range 10 {
			if _, ok := a.open(person{name, Viewer, m}); !ok {
				t.Fatal("it is not opened")
			}
		}
	}
	if n := len(a.sessions); n != maxSessions {
		t.Errorf("%d sessions", n)
	}
}

// A password that is sent with every request is hashed once in a while, and at
// once when it may have changed.
func TestPasswordsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, err := auth.NewVerifier(auth.DefaultVerifierLimits())
		if err != nil {
			t.Fatal(err)
		}
		load := func(lines ...string) *auth.PasswordFile { return usersOf(t, v, lines...) }
		a := NewAccounts()
		a.SetUsers(load(line("ann", "x", "admin"), line("bob", "y", "")))
		from := netip.MustParseAddr("192.0.2.1")
		ask := func(name, password string) error {
			_, err := a.identify(t.Context(), from, name, password)
			return err
		}
		hashed := func(want uint64, what string, do func()) {
			t.Helper()
			before := v.Stats().Done
			do()
			if got := v.Stats().Done - before; got != want {
				t.Errorf("%s: %d hashes, want %d", what, got, want)
			}
		}
		good := func(name, password string) func() {
			return func() {
				t.Helper()
				if err := ask(name, password); err != nil {
					t.Errorf("%s is refused: %v", name, err)
				}
			}
		}
		bad := func(name, password string) func() {
			return func() {
				t.Helper()
				if err := ask(name, password); !errors.Is(err, auth.ErrRefused) {
					t.Errorf("%s is let in: %v", name, err)
				}
			}
		}
		hashed(1, "first", good("ann", "x"))
		for range 50 {
			hashed(0, "again", good("ann", "x"))
		}
		hashed(1, "another password", bad("ann", "y"))
		hashed(1, "another's password", bad("bob", "x"))
		hashed(1, "names and passwords that run together", bad("annx", ""))
		hashed(0, "right after wrong ones", good("ann", "x"))
		time.Sleep(rememberedFor)
		hashed(1, "later", good("ann", "x"))
		a.SetUsers(load(line("ann", "x", "admin"), line("bob", "z", "")))
		hashed(0, "after somebody else's change", good("ann", "x"))
		a.SetUsers(load(line("ann", "x", "viewer")))
		hashed(1, "after a change of groups", good("ann", "x"))
		a.SetUsers(load(line("ann", "new", "viewer")))
		hashed(1, "an old password", bad("ann", "x"))
		a.SetUsers(load("# nobody\n"))
		hashed(0, "nobody", bad("ann", "new"))
		a.SetUsers(nil)
		hashed(0, "no users", bad("ann", "new"))
	})
}

func TestRememberedPasswordsAreBounded(t *testing.T) {
	var lines []string
	for i := range 2 * maxRemembered {
		lines = append(lines, line(fmt.Sprint("u", i), "x", ""))
	}
	a := NewAccounts()
	a.SetUsers(users(t, lines...))
	for i := range 2 * maxRemembered {
		if _, err := a.identify(t.Context(), netip.Addr{}, fmt.Sprint("u", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.remembered); n != maxRemembered {
		t.Errorf("%d are remembered", n)
	}
}

// Guesses get slow, at the page and by HTTP Basic together, and right passwords
// do not help an attacker past that.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serve(t, nil)
		if r.status(basic("ann", "ann")) != 200 { // remembered from now on
			t.Fatal("a good password is refused")
		}
		guesses := 0
		for r.status(basic("ann", fmt.Sprint(guesses))) == 401 {
			if guesses++; guesses > 100 {
				t.Fatal("guessing never ends")
			}
		}
		if guesses > auth.DefaultLockoutConfig().Failures+1 {
			t.Errorf("%d guesses", guesses)
		}
		status, h, text := r.ask("POST", "/login", body(`{"username":"ann","password":"ann"}`))
		wait, err := strconv.Atoi(h.Get("Retry-After"))
		if status != 429 || err != nil || wait < 1 || !strings.Contains(text, `"hint":`) {
			t.Fatalf("the right password while locked: %d %v %s", status, h, text)
		}
		if r.status(basic("ann", "ann")) != 429 {
			t.Error("a remembered password tells a guess from the right one while locked")
		}
		time.Sleep(time.Duration(wait) * time.Second)
		if r.status(basic("ann", "ann")) != 200 {
			t.Error("locked for longer than it says")
		}
		resp, err := r.try("198.51.100.1", r.request("GET", "/v1/session", basic("vic", "vic")))
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("somebody elsewhere: %v %v", resp, err)
		}
	})
}

// One login after the other is hashed, and few may wait, so that no flood of them
// keeps the processors or the memory busy.
func TestLoginsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTurns()
		if err := q.take(t.Context(), netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error, 100)
		try := func(ctx context.Context, from string) {
			go func() { errs <- q.take(ctx, netip.MustParseAddr(from)) }()
			synctest.Wait()
		}
		for range maxWaitingFromNetwork {
			try(t.Context(), "2001:db8::1")
		}
		try(t.Context(), "2001:db8::2") // of the same network
		if len(errs) != 1 || !errors.Is(<-errs, auth.ErrBusy) {
			t.Fatal("one network may wait in all places")
		}
		gone, cancel := context.WithCancel(t.Context())
		for i := range maxWaiting - maxWaitingFromNetwork {
			try(gone, fmt.Sprintf("192.0.2.%d", i))
		}
		try(t.Context(), "198.51.100.1")
		if len(errs) != 1 || !errors.Is(<-errs, auth.ErrBusy) {
			t.Fatal("any number may wait")
		}
		cancel()
		for range maxWaiting - maxWaitingFromNetwork {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("whoever has left: %v", err)
			}
		}
		for range maxWaitingFromNetwork {
			synctest.Wait()
			if len(errs) != 0 {
				t.Fatal("two have their turn at once")
			}
			q.done()
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		q.done()
		if q.all != 0 || len(q.waiting) != 0 {
			t.Errorf("%d wait, %v", q.all, q.waiting)
		}
	})
}

// A password that changes while it is verified opens nothing.
func TestPasswordChangesMeanwhile(t *testing.T) {
	a := NewAccounts()
	a.SetUsers(users(t, line("ann", "x", "admin")))
	p, err := a.identify(t.Context(), netip.Addr{}, "ann", "x")
	if err != nil {
		t.Fatal(err)
	}
	a.SetUsers(users(t, line("ann", "y", "admin")))
	if _, ok := a.open(p); ok {
		t.Error("a session is opened with a password that is none any more")
	}
	if _, _, ok := a.enter(t.Context(), p); ok {
		t.Error("a request is let in with a password that is none any more")
	}
	a.remember(a.rememberKey("ann", "x"), remembered{person: p, id: auth.Identity{Name: "ann"}})
	if _, err := a.identify(t.Context(), netip.Addr{}, "ann", "x"); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("a password that is none any more is remembered: %v", err)
	}
}

// A user who logs in too often loses the session that was used longest ago.
func TestTheLeastUsedSessionGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAccounts()
		a.SetUsers(users(t, line("ann", "x", "admin"), line("bob", "x", "")))
		open := func(name string) string {
			t.Helper()
			m, _ := a.users.Mark(name)
			token, ok := a.open(person{name, Viewer, m})
			if !ok {
				t.Fatal("it is not opened")
			}
			time.Sleep(time.Second)
			return token
		}
		is := func(token string) bool {
			_, v, ok := a.resume(t.Context(), token)
			if ok {
				v.leave()
			}
			time.Sleep(time.Second)
			return ok
		}
		other := open("bob")
		var list []string
		for range maxSessionsPerUser {
			list = append(list, open("ann"))
		}
		if !is(list[0]) {
			t.Fatal("the first session is gone")
		}
		list = append(list, open("ann"))
		for i, token := range list {
			if got := is(token); got != (i != 1) {
				t.Errorf("session %d: %v", i, got)
			}
		}
		if !is(other) {
			t.Error("somebody else's session gave way")
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost", "localhost:1", "[::1]:80", "gateway.example.", "evil.example", "127.0.0.1.evil.example", "[::1].evil.example", "::", "%"} {
		f.Add(s)
	}
	s := &Server{hosts: map[string]bool{"localhost": true}}
	f.Fuzz(func(t *testing.T, host string) {
		if !s.knows(host) {
			return
		}
		name := strings.ToLower(strings.TrimSuffix(plainHost(host), "."))
		if _, err := netip.ParseAddr(name); err != nil && name != "localhost" {
			t.Errorf("%q is known as %q", host, name)
		}
	})
}

func FuzzLogin(f *testing.F) {
	f.Add(`{"username":"ann","password":"PASSWORD"}`, "application/json")
	f.Add(`{"username":1,"password":"PASSWORD"}`, "application/json; charset=utf-8")
	f.Fuzz(func(t *testing.T, text, kind string) {
		r, err := http.NewRequest("POST", "/login", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		_, err = readLogin(r)
		switch {
		case err != nil && strings.Contains(err.Error(), "PASSWORD"):
			t.Errorf("the error shows the password: %v", err)
		case err == nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(kind)), "application/json"):
			t.Errorf("a body of type %q is a login", kind)
		}
	})
}

// FuzzToken: what is taken for a token is one as they are written.
func FuzzToken(f *testing.F) {
	f.Add(strings.Repeat("A", 43))
	f.Add(strings.Repeat("A", 42) + "B")
	f.Add("0000000000\n0\n\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		key, ok := keyOf(token)
		if !ok {
			return
		}
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != token || sha256.Sum256(raw) != key {
			t.Errorf("%q is taken for a token", token)
		}
	})
}
