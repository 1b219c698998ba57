package statsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/events"
)

// answerTimeout bounds the wait for the head of an answer. A broker that is
// alive answers at once.
const answerTimeout = 10 * time.Second

// ErrUnreachable says that nobody answers on a control socket, or that the
// connection broke. Use errors.As with a *ErrUnreachable.
type ErrUnreachable struct {
	Path string // of the socket
	Err  error
}

func (e *ErrUnreachable) Error() string {
	return fmt.Sprintf("reach control socket %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause, such as fs.ErrNotExist or fs.ErrPermission.
func (e *ErrUnreachable) Unwrap() error { return e.Err }

// ErrNotFound is what an APIError is when the thing asked for does not exist.
var ErrNotFound = errors.New("not found")

// APIError is the answer of a broker that refused a request.
type APIError struct {
	Status  int    // HTTP status
	Message string // what is wrong
	Hint    string // how to mend it; may be empty
}

func (e *APIError) Error() string { return e.Message }

// Is makes errors.Is(err, ErrNotFound) work.
func (e *APIError) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

// ControlClient asks a running broker through its control socket. It may be
// used by many goroutines. Every method returns a *ErrUnreachable when nobody
// answers, an *APIError when the broker refuses, and the context's error when
// ctx ends.
type ControlClient struct {
	path string
	http *http.Client
}

// Dial returns a client for the control socket at path. It does not connect
// yet: the first request does, and tells whether somebody is there.
func Dial(path string) *ControlClient {
	var d net.Dialer
	return &ControlClient{path: path, http: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "unix", path)
			},
			ResponseHeaderTimeout: answerTimeout,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes idle connections. The client stays usable.
func (c *ControlClient) Close() { c.http.CloseIdleConnections() }

// Version says which broker answers.
func (c *ControlClient) Version(ctx context.Context) (VersionInfo, error) {
	return get[VersionInfo](ctx, c, "/v1/version", nil)
}

// Stats returns the counters.
func (c *ControlClient) Stats(ctx context.Context) (Snapshot, error) {
	return get[Snapshot](ctx, c, "/v1/stats", nil)
}

// StatsStream calls fn with the counters now and after every interval. It
// returns fn's error, or nil when the broker ends the stream.
func (c *ControlClient) StatsStream(ctx context.Context, interval time.Duration, fn func(Snapshot) error) error {
	return stream(ctx, c, "/v1/stats/stream", url.Values{"interval": {interval.String()}}, nil, fn)
}

// Clients lists sessions in the given order (see ClientOrders; empty is
// DefaultOrder), the first top of them, or all if top is 0.
func (c *ControlClient) Clients(ctx context.Context, order string, top int) ([]Client, error) {
	q := url.Values{}
	if order != "" {
		q.Set("sort", order)
	}
	if top != 0 {
		q.Set("top", strconv.Itoa(top))
	}
	return get[[]Client](ctx, c, "/v1/clients", q)
}

// Client describes one session, with its subscriptions.
func (c *ControlClient) Client(ctx context.Context, id string) (Client, error) {
	return get[Client](ctx, c, "/v1/clients/"+escapeSegment(id), nil)
}

// Drops lists what has been lost since the start of the broker, the most first.
func (c *ControlClient) Drops(ctx context.Context) ([]Loss, error) {
	return get[[]Loss](ctx, c, "/v1/drops", nil)
}

// Kick disconnects a client. The error is ErrNotFound if it is not connected.
func (c *ControlClient) Kick(ctx context.Context, id string) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/clients/"+escapeSegment(id)+"/kick", nil)
	if err != nil {
		return err
	}
	return body.Close()
}

// Reload makes the broker read its configuration, and the files that it names,
// again. If try is true it only says what that would change.
func (c *ControlClient) Reload(ctx context.Context, try bool) (Reloaded, error) {
	return read[Reloaded](ctx, c, http.MethodPost, "/v1/reload", url.Values{"dry_run": {strconv.FormatBool(try)}})
}

// Past says which recorded events an event stream begins with. The zero Past is
// none.
type Past struct {
	Since, Until time.Time // by the time of the event; zero: from the first, to the last
	Follow       bool      // go on with what happens then
}

func (p Past) add(q url.Values) {
	for name, t := range map[string]time.Time{"since": p.Since, "until": p.Until} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if p.Follow {
		q.Set("follow", "true")
	}
}

// History calls fn for the recorded events that p and f let through, and returns
// fn's error, or nil when there are no more. To follow what happens then, the
// broker must go on: nil says that it stops.
func (c *ControlClient) History(ctx context.Context, p Past, f events.Filter, fn func(events.Event) error) error {
	q := eventQuery(f)
	if p.add(q); p.Since.IsZero() && p.Until.IsZero() {
		q.Set("since", time.Time{}.Format(time.RFC3339Nano))
	}
	return stream(ctx, c, "/v1/events", q, nil, fn)
}

// Events calls fn for the events that f lets through, from the moment the
// broker has said yes, which calls ready if that is not nil. It returns fn's
// error, or nil when the broker ends the stream. When this side is too slow, a
// system event [events.SystemEventsMissed] says how many events were lost.
func (c *ControlClient) Events(ctx context.Context, f events.Filter, ready func(), fn func(events.Event) error) error {
	return stream(ctx, c, "/v1/events", eventQuery(f), ready, fn)
}

func eventQuery(f events.Filter) url.Values {
	q := url.Values{}
	for _, t := range f.Types {
		q.Add("type", string(t))
	}
	if f.Client != "" {
		q.Set("client", f.Client)
	}
	if f.Topic != "" {
		q.Set("topic", f.Topic)
	}
	return q
}

// Metrics returns the metrics in Prometheus text format.
func (c *ControlClient) Metrics(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/metrics")
}

// Health asks whether the broker is alive and ready.
func (c *ControlClient) Health(ctx context.Context) (Health, error) {
	resp, err := c.send(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return Health{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return Health{}, refusal(resp)
	}
	var h Health
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return Health{}, c.broken(ctx, err)
	}
	return h, nil
}

// get asks for one JSON value.
func get[T any](ctx context.Context, c *ControlClient, path string, q url.Values) (T, error) {
	return read[T](ctx, c, http.MethodGet, path, q)
}

// read sends a request and decodes the JSON of its answer.
func read[T any](ctx context.Context, c *ControlClient, method, path string, q url.Values) (T, error) {
	var v T
	body, err := c.do(ctx, method, path, q)
	if err != nil {
		return v, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		return v, c.broken(ctx, err)
	}
	return v, nil
}

// stream asks for JSON lines and calls fn for each. Blank lines are heartbeats.
func stream[T any](ctx context.Context, c *ControlClient, path string, q url.Values, ready func(), fn func(T) error) error {
	body, err := c.do(ctx, http.MethodGet, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	if ready != nil {
		ready()
	}
	for in := json.NewDecoder(body); ; {
		var v T
		if err := in.Decode(&v); err != nil {
			if errors.Is(err, io.EOF) && ctx.Err() == nil {
				return nil
			}
			return c.broken(ctx, err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
}

// do sends a request and returns the body of a successful answer.
func (c *ControlClient) do(ctx context.Context, method, path string, q url.Values) (io.ReadCloser, error) {
	resp, err := c.send(ctx, method, path, q)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp.Body, nil
}

// send sends a request. path is already escaped.
func (c *ControlClient) send(ctx context.Context, method, path string, q url.Values) (*http.Response, error) {
	target := "http://edgebroker" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	return resp, nil
}

// broken turns an error of the connection into what callers are promised.
func (c *ControlClient) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The URL that net/http adds is made up; the path of the socket is not.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		err = e.Err
	}
	return &ErrUnreachable{Path: c.path, Err: err}
}

// refusal reads the error out of an answer.
func refusal(resp *http.Response) error {
	var body Failure
	err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&body)
	if err != nil || body.Error == "" {
		return &APIError{Status: resp.StatusCode, Message: "unexpected answer: " + resp.Status}
	}
	return &APIError{Status: resp.StatusCode, Message: body.Error, Hint: body.Hint}
}

// escapeSegment makes any string one segment of a path. Dots are escaped too:
// the client "..", left as it is, would name the parent.
func escapeSegment(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
