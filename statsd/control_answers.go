package statsd

import "context"

// Balance accounts for every message.
func (c *ControlClient) Balance(ctx context.Context) (Balance, error) {
	return get[Balance](ctx, c, "/v1/balance", nil)
}
