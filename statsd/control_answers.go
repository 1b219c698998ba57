package statsd

import (
	"context"
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
