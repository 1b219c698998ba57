package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

const (
	// MaxPayload is the largest Query.Payload, in bytes.
	MaxPayload = 64 << 10
	// maxConditions is how many clients, topics and addresses a query may name.
	maxConditions = 64
)

// Query says what to trace. Values of one field are alternatives; fields add up.
// At least one of Clients, Topics and Addresses must be given.
type Query struct {
	Clients   []string       // client identifiers
	Topics    []string       // topic filters
	Addresses []netip.Prefix // from which connections come

	// Types, if there are any, are the only packets shown. All others count for
	// timing all the same.
	Types []wire.Type

	// Payload is how many bytes of each payload are shown. 0 hides payloads.
	Payload int
}

// Check says what is wrong with q.
func (q *Query) Check() error {
	switch n := len(q.Clients) + len(q.Topics) + len(q.Addresses); {
	case n == 0:
		return errors.New("neither a client nor a topic nor an address to trace is named")
	case n > maxConditions:
		return fmt.Errorf("%d clients, topics and addresses are too many; at most %d", n, maxConditions)
	case q.Payload < 0 || q.Payload > MaxPayload:
		return fmt.Errorf("%d bytes of payload are not between 0 and %d", q.Payload, MaxPayload)
	case slices.Contains(q.Clients, ""):
		return errors.New("the client id to trace is empty")
	}
	for _, filter := range q.Topics {
		if err := wire.ValidFilter(filter); err != nil {
			return fmt.Errorf("topic filter %q: %w", filter, err)
		}
	}
	return nil
}

// String reads like "client pump-7, topic a/# or b/#".
func (q *Query) String() string {
	var parts []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			parts = append(parts, what+" "+strings.Join(list, " or "))
		}
	}
	var addresses, types []string
	for _, a := range q.Addresses {
		if a.IsSingleIP() {
			addresses = append(addresses, a.Addr().String())
		} else {
			addresses = append(addresses, a.String())
		}
	}
	for _, t := range q.Types {
		types = append(types, t.String())
	}
	add("client", q.Clients)
	add("topic", q.Topics)
	add("address", addresses)
	add("only", types)
	return strings.Join(parts, ", ")
}

// ParseAddress reads an IP address or a prefix such as 192.168.8.0/24.
func ParseAddress(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an IP address nor a prefix such as 192.168.8.0/24", s)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// ParseType reads the name of a packet type, in any case.
func ParseType(s string) (wire.Type, error) {
	for t := wire.CONNECT; t <= wire.AUTH; t++ {
		if strings.EqualFold(t.String(), s) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is no packet type; there is CONNECT, PUBLISH, SUBSCRIBE, PINGREQ and so on", s)
}

// follows reports whether the connections of a client from an address may be of
// interest.
func (q *Query) follows(client string, from netip.Addr) bool {
	if len(q.Clients) > 0 && (client == "" || !slices.Contains(q.Clients, client)) {
		return false
	}
	from = from.Unmap().WithZone("")
	return len(q.Addresses) == 0 || slices.ContainsFunc(q.Addresses, func(p netip.Prefix) bool { return p.Contains(from) })
}

// topic reports whether a message on topic is of interest.
func (q *Query) topic(topic string) bool {
	return slices.ContainsFunc(q.Topics, func(f string) bool {
		_, f, _ = wire.SplitShare(f)
		return wire.MatchTopic(f, topic)
	})
}

// filter reports whether there is a topic of interest that filter covers.
func (q *Query) filter(filter string) bool {
	_, filter, _ = wire.SplitShare(filter)
	return slices.ContainsFunc(q.Topics, func(f string) bool {
		_, f, _ = wire.SplitShare(f)
		return meet(f, filter)
	})
}

// meet reports whether there is a topic that both filters cover. [MQTT-4.7.2-1]
func meet(a, b string) bool {
	if dollar(a) && wild(b) || dollar(b) && wild(a) {
		return false
	}
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; ; i++ {
		switch {
		case i < len(x) && x[i] == "#", i < len(y) && y[i] == "#":
			// a/# covers a, but a topic is not empty.
			return i < len(x) && i < len(y) || i != 1 || x[0] != "" && y[0] != ""
		case i == len(x) || i == len(y):
			return len(x) == len(y)
		case x[i] != y[i] && x[i] != "+" && y[i] != "+":
			return false
		}
	}
}

func dollar(f string) bool { return strings.HasPrefix(f, "$") }
func wild(f string) bool   { return strings.HasPrefix(f, "+") || strings.HasPrefix(f, "#") }

func (q *Query) shows(t wire.Type) bool { return len(q.Types) == 0 || slices.Contains(q.Types, t) }
