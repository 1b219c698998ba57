package statsd

import (
	"cmp"
	"slices"
)

// DefaultOrder is the order of clients when none is asked for.
const DefaultOrder = "id"

// clientOrders maps the name of an order to its comparison. Orders by a number
// put the largest first. Two have another name each: queue is queued, and drops is
// dropped.
func clientOrders() map[string]func(a, b Client) int {
	return map[string]func(a, b Client) int{
		"id": func(a, b Client) int { return cmp.Compare(a.ID, b.ID) },
		// Connected clients first, the longest connected on top.
		"connected": func(a, b Client) int {
			if a.Connected != b.Connected {
				if a.Connected {
					return -1
				}
				return 1
			}
			return a.ConnectedAt.Compare(b.ConnectedAt)
		},
		"in":      func(a, b Client) int { return cmp.Compare(b.Received.Messages, a.Received.Messages) },
		"out":     func(a, b Client) int { return cmp.Compare(b.Sent.Messages, a.Sent.Messages) },
		"bytes":   func(a, b Client) int { return cmp.Compare(b.ReceivedBytes+b.SentBytes, a.ReceivedBytes+a.SentBytes) },
		"queued":  func(a, b Client) int { return cmp.Compare(b.Queued.Messages, a.Queued.Messages) },
		"dropped": func(a, b Client) int { return cmp.Compare(b.Dropped, a.Dropped) },
		"queue":   func(a, b Client) int { return cmp.Compare(b.Queued.Messages, a.Queued.Messages) },
		"drops":   func(a, b Client) int { return cmp.Compare(b.Dropped, a.Dropped) },
		"latency": func(a, b Client) int { return cmp.Compare(b.Waited, a.Waited) },
		"stalls":  func(a, b Client) int { return cmp.Compare(b.Stalls, a.Stalls) },
	}
}

// ClientOrders returns the names that SortClients knows.
func ClientOrders() []string {
	return []string{"id", "connected", "in", "out", "bytes", "queued", "dropped", "queue", "latency", "drops", "stalls"}
}

// SortClients sorts clients by the named order, equal ones by id; the empty
// name is DefaultOrder. It reports whether it knows the name.
func SortClients(clients []Client, order string) bool {
	if order == "" {
		order = DefaultOrder
	}
	compare, ok := clientOrders()[order]
	if !ok {
		return false
	}
	slices.SortFunc(clients, func(a, b Client) int {
		return cmp.Or(compare(a, b), cmp.Compare(a.ID, b.ID))
	})
	return true
}
