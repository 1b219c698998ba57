package post_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/post"
	"pgregory.net/rapid"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, "90": 90 * time.Second, "3600": time.Hour, "3601": time.Hour,
		"99999999999999999999999999": time.Hour, "9223372036854775807": time.Hour, "-1": 0, "1.5": 0, "soon": 0, " 5": 0,
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second, "Sun, 01 Mar 2026 11:00:00 GMT": 0, "Mon, 01 Mar 2027 12:00:00 GMT": time.Hour,
	} {
		if got := post.RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// Waiting grows from least to most, is never more than that, and never less than
// half of what it has grown to.
func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "least"))
		most := time.Duration(rapid.Int64Range(int64(least), int64(24*time.Hour)).Draw(t, "most"))
		grown := least
		for n := 1; n < 100; n++ {
			if d := post.Backoff(n, least, most); d > grown || d < grown/2 {
				t.Fatalf("%v after %d failures, want %v to %v", d, n, grown/2, grown)
			}
			grown = min(2*grown, most)
		}
	})
}

func TestClient(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1); r.URL.Path == "/away" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, strings.Repeat("x", 3*post.MaxAnswer))
	}))
	defer server.Close()
	transport := post.Transport(nil)
	defer transport.CloseIdleConnections()
	c := post.Client(transport, time.Minute)
	resp, err := c.Post(server.URL+"/away", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if post.Read(resp); resp.StatusCode != http.StatusTemporaryRedirect || asked.Load() != 1 {
		t.Errorf("status %d after %d requests: a redirect was followed", resp.StatusCode, asked.Load())
	}
	if resp, err = c.Get(server.URL); err != nil {
		t.Fatal(err)
	}
	if n := len(post.Read(resp)); n != post.MaxAnswer {
		t.Errorf("%d bytes of an endless answer", n)
	}
}

func TestWithoutURL(t *testing.T) {
	inner := errors.New("refused")
	if got := post.WithoutURL(fmt.Errorf("post: %w", &url.Error{Op: "Post", URL: "https://h/secret", Err: inner})); got != inner {
		t.Errorf("%v", got)
	}
	if got := post.WithoutURL(inner); got != inner {
		t.Errorf("%v", got)
	}
}

// roundTripper is what a program may have put into http.DefaultTransport.
type roundTripper struct{ http.RoundTripper }

func TestTransportIsItsOwn(t *testing.T) {
	before := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = before })
	http.DefaultTransport = roundTripper{before}
	if post.Transport(nil).Proxy == nil {
		t.Error("the environment does not say which proxy to use")
	}
}
