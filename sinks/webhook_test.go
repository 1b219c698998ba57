package sinks_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/sinks"
)

// collector is a web server that answers as it is told and keeps what it took.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(n, events int) (status int, retryAfter string) // n counts requests from 1
	n      int
	got    []string // details of the events taken
	bad    []string
}

const hookSecret = "not a secret"

func newCollector(t *testing.T, answer func(n, events int) (int, string)) *collector {
	c := &collector{answer: answer}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var batch []struct {
		SpecVersion, ID, Source, Type, Time, Subject string
		Data                                         events.SystemData
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fault := func(format string, args ...any) { c.bad = append(c.bad, fmt.Sprintf(format, args...)) }
	if err := json.Unmarshal(body, &batch); err != nil {
		fault("%v in %q", err, body)
	}
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/cloudevents-batch+json; charset=utf-8" {
		fault("%v %s %v", err, r.Method, r.Header)
	}
	mac := hmac.New(sha256.New, []byte(hookSecret))
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("webhook-signature") != want {
		fault("signature %q, want %q", r.Header.Get("webhook-signature"), want)
	}
	c.n++
	status, after := c.answer(c.n, len(batch))
	if status == http.StatusOK {
		for _, e := range batch {
			if e.SpecVersion != "1.0" || e.ID == "" || e.Source != "/edgebroker/a%20node" || e.Type != "edgebroker.system" || e.Subject != "" {
				fault("%+v", e)
			}
			c.got = append(c.got, e.Data.Detail)
		}
	}
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.WriteHeader(status)
}

func (c *collector) taken(t *testing.T) []string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.bad) > 0 {
		t.Fatal(c.bad)
	}
	return slices.Clone(c.got)
}

func always(status int) func(int, int) (int, string) {
	return func(int, int) (int, string) { return status, "" }
}

func hook(t *testing.T, url, dir string, change func(*sinks.WebhookOptions)) *sinks.Webhook {
	t.Helper()
	o := sinks.WebhookOptions{URL: url, Secret: func() ([]byte, error) { return []byte(hookSecret), nil }, Source: sinks.CloudEventSource("a node"),
		Directory: dir, MaxBytes: 1 << 20, BatchEvents: 10, BatchTime: time.Millisecond, RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond,
		Timeout: brokertest.Patience, Log: slog.New(slog.DiscardHandler), Transport: &http.Transport{}}
	if change != nil {
		change(&o)
	}
	w, err := sinks.NewWebhook(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, w) })
	return w
}

func shut(t *testing.T, target sinks.Target) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
	defer cancel()
	if err := target.Close(ctx); err != nil {
		t.Error(err)
	}
}

func event(i int) events.Event {
	return events.New(events.System, events.Source, events.SystemData{What: "test", Detail: fmt.Sprint(i)})
}

func numbers(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func TestWebhook(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  func(n, events int) (int, string)
		sent    int // of 25; the others are dropped
		retries bool
	}{
		{"takes everything", always(200), 25, false},
		{"is away for a while", func(n, _ int) (int, string) {
			if n <= 5 {
				return []int{500, 503, 429, 302, 401}[n-1], ""
			}
			return 200, ""
		}, 25, true},
		{"takes three at once", func(_, n int) (int, string) {
			if n > 3 {
				return 413, ""
			}
			return 200, ""
		}, 25, true},
		{"takes none ever", always(400), 0, true},
		{"takes not even one", always(413), 0, true},
	} {
		for _, where := range []string{"disk", "memory"} {
			t.Run(tt.name+" from "+where, func(t *testing.T) {
				dir := ""
				if where == "disk" {
					dir = t.TempDir()
				}
				c := newCollector(t, tt.answer)
				w := hook(t, c.URL, dir, nil)
				for i := range 25 {
					w.Take(event(i))
				}
				brokertest.WaitFor(t, "an end", func() bool { return w.Counts().Waiting == 0 })
				n := w.Counts()
				if n.Sent != uint64(tt.sent) || n.Dropped != uint64(25-tt.sent) || n.Bytes != 0 || (n.Errors > 0) != tt.retries {
					t.Errorf("%+v", n)
				}
				if got := c.taken(t); !slices.Equal(got, numbers(0, tt.sent)) {
					t.Errorf("the server took %v", got)
				}
			})
		}
	}
}

// Retry-After is honoured: with an hour there is no second request.
func TestWebhookRetryAfter(t *testing.T) {
	c := newCollector(t, func(int, int) (int, string) { return 503, "3600" })
	w := hook(t, c.URL, "", nil)
	w.Take(event(0))
	brokertest.WaitFor(t, "an answer", func() bool { return w.Counts().Errors == 1 })
	for i := range 100 {
		w.Take(event(i))
	}
	shut(t, w)
	if c.mu.Lock(); c.n != 1 {
		t.Errorf("%d requests", c.n)
	}
	c.mu.Unlock()
	if n := w.Counts(); n.Dropped != 101 || n.Waiting != 0 {
		t.Errorf("%+v", n)
	}
}

// What waits on disk is sent by the next process, in order, also after a crash
// that has cut the last line and spoiled others, and never more than fits.
func TestWebhookSurvives(t *testing.T) {
	dir := t.TempDir()
	var up bool
	c := newCollector(t, func(int, int) (int, string) {
		if up {
			return 200, ""
		}
		return 503, ""
	})
	w := hook(t, c.URL, dir, nil)
	for i := range 40 {
		w.Take(event(i))
	}
	shut(t, w)
	if n := w.Counts(); n.Waiting != 40 || n.Dropped != 0 {
		t.Fatalf("%+v", n)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[7] = strings.Repeat("\x00", len(lines[7])-1) + "\n"
	spoiled := strings.Join(lines, "") + lines[0][:30]
	if err := os.WriteFile(files[0], []byte(spoiled), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	up = true
	c.mu.Unlock()
	w = hook(t, c.URL, dir, nil)
	for i := 40; i < 50; i++ {
		w.Take(event(i))
	}
	brokertest.WaitFor(t, "an end", func() bool { return w.Counts().Waiting == 0 })
	if n := w.Counts(); n.Sent != 49 || n.Dropped != 1 {
		t.Errorf("%+v", n)
	}
	if got, want := c.taken(t), append(numbers(0, 7), numbers(8, 50)...); !slices.Equal(got, want) {
		t.Errorf("the server took %v", got)
	}
}

// A server that takes a request and never answers costs neither memory, disk nor
// the producer, and does not hold up the end.
func TestWebhookStalls(t *testing.T) {
	for _, where := range []string{"disk", "memory"} {
		t.Run(where, func(t *testing.T) {
			dir := ""
			if where == "disk" {
				dir = t.TempDir()
			}
			arrived, release := make(chan bool, 1), make(chan bool)
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				arrived <- true
				<-release
			}))
			t.Cleanup(s.Close)
			t.Cleanup(func() { close(release) })
			w := hook(t, s.URL, dir, func(o *sinks.WebhookOptions) { o.MaxBytes = 64 << 10 })
			w.Take(event(0))
			<-arrived
			for i := range 2000 {
				w.Take(event(i))
			}
			n := w.Counts()
			if n.Bytes > 64<<10 || n.Dropped == 0 || n.Waiting+int(n.Dropped) != 2001 {
				t.Errorf("%+v", n)
			}
			if dir != "" {
				shut(t, w) // at once
				if got := w.Counts(); got.Waiting != n.Waiting || got.Sent != 0 {
					t.Errorf("%+v, then %+v", n, got)
				}
			}
		})
	}
}
