package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synthetism/edgebroker/auth"
)

func newHTTP(t testing.TB, change func(*auth.HTTPConfig)) *auth.HTTPSource {
	t.Helper()
	c := auth.DefaultHTTPConfig()
	change(&c)
	s, err := auth.NewHTTPSource(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func answers(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = io.WriteString(w, text)
}

func TestHTTPQuestionAndAnswer(t *testing.T) {
	var got map[string]any
	var method, authorization string
	say := `{"result":"allow","username":"Ann","groups":["ops","ops"],"client_ids":["c1"],"expire_at":4102444800,"new":{}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = nil
		method, authorization = r.Method, r.Header.Get("Authorization")
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		answers(w, say)
	}))
	defer server.Close()
	s := newHTTP(t, func(c *auth.HTTPConfig) {
		c.URL, c.Authorization = server.URL+"/auth", auth.NewSecret([]byte("Bearer abc"))
		c.AllowedFor = 0
	})
	id, err := s.Authenticate(t.Context(), login("ann", "pw\"\n"))
	if err != nil || id.Name != "Ann" || !slices.Equal(id.Groups, []string{"ops"}) || !slices.Equal(id.ClientIDs, []string{"c1"}) || id.Source != "http" || !id.NotAfter.Equal(time.Unix(4102444800, 0)) {
		t.Errorf("%+v, %v", id, err)
	}
	want(t, "question", fmt.Sprint(got), "map[address:192.0.2.1 clientid:c1 listener:local password:pw\"\n username:ann]")
	want(t, "method", method+" "+authorization, "POST Bearer abc")

	binary := login("ann", "\xff\x00")
	binary.Addr = netip.Addr{}
	say = `{"result":"allow"}`
	if id, err := s.Authenticate(t.Context(), binary); err != nil || id.Name != "ann" || !id.NotAfter.IsZero() {
		t.Errorf("%+v, %v", id, err)
	}
	want(t, "question", fmt.Sprint(got), "map[clientid:c1 listener:local password_base64:/wA= username:ann]")

	nameless := login("", "token")
	nameless.HasUsername = false
	_, err = s.Authenticate(t.Context(), nameless)
	want(t, "allowed without a name", outcome(err), "failure")
	got = nil
	_, err = s.Authenticate(t.Context(), &auth.Attempt{ClientID: "c"})
	want(t, "nothing to ask", outcome(err), "pass")
	for name, a := range map[string]*auth.Attempt{"long": login("ann", strings.Repeat("x", 17<<10)), "not UTF-8": login("\xff", "x")} {
		_, err = s.Authenticate(t.Context(), a)
		want(t, name, outcome(err), "refused")
	}
	if got != nil {
		t.Errorf("asked %v", got)
	}
}

// TestHTTPFailsClosed: nothing but a proper answer lets anybody in, and no error
// says what was asked or answered.
func TestHTTPFailsClosed(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		answers(w, `{"result":"allow"}`)
	}))
	defer other.Close()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { answers(w, s) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", other.URL)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"result":"allow"}`)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"allow":        {text(`{"result":"allow"}`), "in"},
		"deny":         {text(`{"result":"deny","username":"x"}`), "refused"},
		"ignore":       {text(`{"result":"ignore"}`), "pass"},
		"expired":      {text(`{"result":"allow","expire_at":1}`), "stale"},
		"expires at 0": {text(`{"result":"allow","expire_at":0}`), "stale"},
		"500":          {status(500), "failure"},
		"401":          {status(401), "failure"},
		"201":          {status(201), "failure"},
		"204":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "failure"},
		"301":          {status(301), "failure"},
		"302":          {status(302), "failure"},
		"307":          {status(307), "failure"},
		"308":          {status(308), "failure"},
		"empty":        {text(``), "failure"},
		"other word":   {text(`{"result":"Allow"}`), "failure"},
		"true":         {text(`{"result":true}`), "failure"},
		"no result":    {text(`{}`), "failure"},
		"null":         {text(`null`), "failure"},
		"list":         {text(`[{"result":"allow"}]`), "failure"},
		"two answers":  {text(`{"result":"allow"}{"result":"deny"}`), "failure"},
		"cut":          {text(`{"result":"allow"`), "failure"},
		"bad name":     {text(`{"result":"allow","username":"a\nb"}`), "failure"},
		"bad group":    {text(`{"result":"allow","groups":[""]}`), "failure"},
		"many groups":  {text(`{"result":"allow","groups":[` + strings.Repeat(`"a",`, auth.MaxGroups) + `"b"]}`), "failure"},
		"text":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"result":"allow"}`) }, "failure"},
		"large":        {text(`{"result":"allow","x":"` + strings.Repeat("x", 64<<10) + `"}`), "failure"},
		"hangs up":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "failure"},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "xxxx hunter2\r\n\r\n")
				_ = conn.Close()
			}
		}, "failure"},
		"never ends": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, "failure"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			s := newHTTP(t, func(h *auth.HTTPConfig) { h.URL = server.URL + "/?token=urlsecret" })
			id, err := s.Authenticate(t.Context(), login("ann", "hunter2"))
			want(t, "outcome", outcome(err), c.want)
			if err != nil && id.Name != "" {
				t.Errorf("identity %+v", id)
			}
			if err != nil {
				for _, secret := range []string{"hunter2", "urlsecret", "result\":", "xxxx"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("error shows %q: %v", secret, err)
					}
				}
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("followed a redirect")
	}
	gone := httptest.NewServer(text(""))
	gone.Close()
	_, err := newHTTP(t, func(h *auth.HTTPConfig) { h.URL = gone.URL + "/?token=urlsecret" }).Authenticate(t.Context(), login("ann", "x"))
	if outcome(err) != "failure" || strings.Contains(err.Error(), "urlsecret") {
		t.Error(err)
	}
}

func TestHTTPConfig(t *testing.T) {
	for _, u := range []string{"", "ftp://a/", "//a/", "https://", "http://192.0.2.1/", "http://example.org/", "https://user:hunter2@example.org/", "http://127.0.0.1.example.org/", "http://[::2]/"} {
		c := auth.DefaultHTTPConfig()
		c.URL = u
		if s, err := auth.NewHTTPSource(c); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, %v", u, s, err)
		}
	}
	for _, u := range []string{"http://127.0.0.1:8080/a", "http://localhost/", "http://[::1]:1/", "https://example.org/?a=b"} {
		c := auth.DefaultHTTPConfig()
		c.URL = u
		if _, err := auth.NewHTTPSource(c); err != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
	for i, change := range []func(*auth.HTTPConfig){
		func(c *auth.HTTPConfig) { c.Timeout = 0 }, func(c *auth.HTTPConfig) { c.Parallel = 0 },
		func(c *auth.HTTPConfig) { c.Waiting = 0 }, func(c *auth.HTTPConfig) { c.CacheEntries = 0 },
		func(c *auth.HTTPConfig) { c.AllowedFor = -1 }, func(c *auth.HTTPConfig) { c.DeniedFor = -1 },
	} {
		c := auth.DefaultHTTPConfig()
		c.URL = "https://example.org/"
		change(&c)
		if _, err := auth.NewHTTPSource(c); err == nil {
			t.Errorf("case %d: accepted", i)
		}
	}
}

// endpoint is a server without sockets, for simulated time.
type endpoint struct {
	takes time.Duration
	say   func(body string) string // result

	mu        sync.Mutex
	asked     []string
	now, peak int
	cancelled int
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.asked = append(e.asked, string(body))
	e.now++
	e.peak = max(e.peak, e.now)
	e.mu.Unlock()
	timer := time.NewTimer(e.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		err = r.Context().Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now--
	if err != nil {
		e.cancelled++
		return nil, err
	}
	return &http.Response{
		StatusCode: 200,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(`{"result":"` + e.say(string(body)) + `"}`)),
	}, nil
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.asked)
}

func simulated(t testing.TB, e *endpoint, change func(*auth.HTTPConfig)) *auth.HTTPSource {
	t.Helper()
	return newHTTP(t, func(c *auth.HTTPConfig) {
		c.URL, c.Transport = "https://auth.invalid/", e
		change(c)
	})
}

func byPassword(body string) string {
	if strings.Contains(body, `"good"`) {
		return "allow"
	}
	return "deny"
}

// TestHTTPCache: answers count for their time, per question, and no longer.
func TestHTTPCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Millisecond, say: byPassword}
		s := simulated(t, e, func(c *auth.HTTPConfig) { c.AllowedFor, c.DeniedFor, c.CacheEntries = time.Minute, 10*time.Second, 4 })
		ask := func(a *auth.Attempt, outcomeWanted string, asked int) {
			t.Helper()
			_, err := s.Authenticate(t.Context(), a)
			want(t, "outcome", outcome(err), outcomeWanted)
			if got := e.count(); got != asked {
				t.Errorf("asked %d times, want %d", got, asked)
			}
		}
		good, bad := login("ann", "good"), login("ann", "bad")
		ask(good, "in", 1)
		ask(good, "in", 1)
		ask(bad, "refused", 2) // never answered with what another password got
		ask(bad, "refused", 2)
		ask(good, "in", 2)
		elsewhere, otherClient, otherListener := login("ann", "good"), login("ann", "good"), login("ann", "good")
		elsewhere.Addr = netip.MustParseAddr("192.0.2.2")
		otherClient.ClientID = "c2"
		otherListener.Listener = "x"
		ask(elsewhere, "in", 3)
		ask(otherClient, "in", 4)
		ask(otherListener, "in", 5)
		time.Sleep(10 * time.Second)
		ask(bad, "refused", 6)
		ask(good, "in", 6)
		// Denied answers, however many, do not push out allowed ones.
		for i := range 100 {
			ask(login("ann", fmt.Sprint("guess", i)), "refused", 7+i)
		}
		ask(good, "in", 106)
		ask(bad, "refused", 107) // but each other
		time.Sleep(50 * time.Second)
		ask(good, "in", 108)
	})
}

// TestHTTPOnceAtATime: equal questions share an answer, and who leaves does
// not take it from the others.
func TestHTTPOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Second, say: byPassword}
		s := simulated(t, e, func(c *auth.HTTPConfig) { c.AllowedFor, c.DeniedFor = 0, 0 })
		first, leave := context.WithCancel(t.Context())
		results := make(chan string, 50)
		for i := range 50 {
			ctx := t.Context()
			if i == 0 {
				ctx = first
			}
			go func() {
				_, err := s.Authenticate(ctx, login("ann", "good"))
				results <- outcome(err)
			}()
			synctest.Wait()
		}
		leave()
		tally := map[string]int{}
		for range 50 {
			tally[<-results]++
		}
		if tally["in"] != 49 || tally["failure"] != 1 || e.count() != 1 {
			t.Errorf("%v, asked %d times", tally, e.count())
		}
		// When the last leaves, the question is given up; the next asks anew.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.Authenticate(ctx, login("ann", "good")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_, err := s.Authenticate(t.Context(), login("ann", "good"))
		want(t, "after one that was given up", outcome(err), "in")
		if e.cancelled != 1 || e.count() != 3 {
			t.Errorf("%d given up, asked %d times", e.cancelled, e.count())
		}
	})
}

// TestHTTPStorm: no more questions at once than allowed, no more waiting, and
// everybody is answered.
func TestHTTPStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Second, say: byPassword}
		s := simulated(t, e, func(c *auth.HTTPConfig) { c.Parallel, c.Waiting = 3, 20 })
		results := make(chan string, 200)
		for i := range 200 {
			go func() {
				a := login(fmt.Sprint("user", i), "good")
				a.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
				_, err := s.Authenticate(t.Context(), a)
				results <- outcome(err)
			}()
		}
		tally := map[string]int{}
		for range 200 {
			tally[<-results]++
		}
		if tally["in"] != 23 || tally["busy"] != 177 || e.peak != 3 {
			t.Errorf("%v, %d at once", tally, e.peak)
		}
	})
}

func TestHTTPTimeoutAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Hour, say: byPassword}
		s := simulated(t, e, func(c *auth.HTTPConfig) { c.Timeout = 3 * time.Second })
		begun := time.Now()
		_, err := s.Authenticate(t.Context(), login("ann", "good"))
		if d := time.Since(begun); outcome(err) != "failure" || !errors.Is(err, context.DeadlineExceeded) || d != 3*time.Second {
			t.Errorf("%v after %v", err, d)
		}
		done := make(chan error)
		go func() {
			_, err := s.Authenticate(t.Context(), login("ann", "good"))
			done <- err
		}()
		synctest.Wait()
		begun = time.Now()
		s.Close()
		want(t, "while closing", outcome(<-done), "failure")
		_, err = s.Authenticate(t.Context(), login("ann", "good"))
		want(t, "after closing", outcome(err), "failure")
		if time.Since(begun) != 0 {
			t.Error("close waits for answers")
		}
		s.Close()
	})
}
