package statsd

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Balance accounts for every message.
func (c *ControlClient) Balance(ctx context.Context) (Balance, error) {
	return get[Balance](ctx, c, "/v1/balance", nil)
}

func found(filter string, top int) url.Values {
	q := url.Values{"filter": {filter}}
	if top > 0 {
		q.Set("top", strconv.Itoa(top))
	}
	return q
}

// Publishers tells who has published on topics that match filter, for the first
// top of them, or for MaxFound if top is 0.
func (c *ControlClient) Publishers(ctx context.Context, filter string, top int) (Found[TopicPublishers], error) {
	return get[Found[TopicPublishers]](ctx, c, "/v1/publishers", found(filter, top))
}

// Topics are the busiest topics, or branches of depth levels, in an order of
// TopicOrders.
func (c *ControlClient) Topics(ctx context.Context, depth int, order string, top int) (Topics, error) {
	q := url.Values{"depth": {strconv.Itoa(depth)}, "sort": {order}}
	if top > 0 {
		q.Set("top", strconv.Itoa(top))
	}
	return get[Topics](ctx, c, "/v1/topics", q)
}

// Retained lists retained messages, with their payloads if that is asked for;
// then no more than MaxPayloads.
func (c *ControlClient) Retained(ctx context.Context, filter string, top int, payload bool) (Found[Retained], error) {
	q := found(filter, top)
	q.Set("payload", strconv.FormatBool(payload))
	return get[Found[Retained]](ctx, c, "/v1/retained", q)
}

// ClearRetained removes the retained messages that match filter, which must not
// be empty, or only says how many there are if try is true.
func (c *ControlClient) ClearRetained(ctx context.Context, filter string, try bool) (Cleared, error) {
	return read[Cleared](ctx, c, http.MethodPost, "/v1/retained/clear", url.Values{"filter": {filter}, "dry_run": {strconv.FormatBool(try)}})
}

// LogLevel is from which level on the broker logs.
func (c *ControlClient) LogLevel(ctx context.Context) (LogLevel, error) {
	return get[LogLevel](ctx, c, "/v1/log/level", nil)
}

// SetLogLevel changes it, to one of LogLevels.
func (c *ControlClient) SetLogLevel(ctx context.Context, level string) (LogLevel, error) {
	return read[LogLevel](ctx, c, http.MethodPost, "/v1/log/level", url.Values{"level": {level}})
}

// Settings is the configuration in force.
func (c *ControlClient) Settings(ctx context.Context) ([]Setting, error) {
	return get[[]Setting](ctx, c, "/v1/config", nil)
}

// Goroutines are the stacks of the daemon's goroutines, as text, and HeapProfile
// is a profile of its heap for `go tool pprof`.
func (c *ControlClient) Goroutines(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/v1/debug/goroutines")
}

// HeapProfile: see Goroutines.
func (c *ControlClient) HeapProfile(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/v1/debug/heap")
}

// raw asks for an answer that is no JSON.
func (c *ControlClient) raw(ctx context.Context, path string) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	return text, nil
}
