package web

import (
	"context"
	"net/netip"
	"sync"

	"github.com/synthetism/edgebroker/auth"
	"github.com/synthetism/edgebroker/internal/peer"
)

// How many logins may wait for their turn, and how many of these from one
// network.
const (
	maxWaiting            = 16
	maxWaitingFromNetwork = 8
)

// turns lets one login after the other have its password hashed, in the order
// in which they came.
type turns struct {
	turn chan struct{} // holds a token while somebody has their turn

	mu      sync.Mutex
	all     int
	waiting map[netip.Prefix]int // by network; only those above 0
}

func newTurns() *turns {
	return &turns{turn: make(chan struct{}, 1), waiting: make(map[netip.Prefix]int)}
}

// take returns nil when it is the caller's turn, who must call done. It returns
// auth.ErrBusy at once if too many wait, and ctx's error if that ends first.
func (t *turns) take(ctx context.Context, from netip.Addr) error {
	network := peer.Network(from)
	t.mu.Lock()
	if t.all >= maxWaiting || t.waiting[network] >= maxWaitingFromNetwork {
		t.mu.Unlock()
		return auth.ErrBusy
	}
	t.all++
	t.waiting[network]++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.all--
		if t.waiting[network]--; t.waiting[network] == 0 {
			delete(t.waiting, network)
		}
	}()
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turns) done() { <-t.turn }
