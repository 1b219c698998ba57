package listen

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/peer"
)

func network(a net.Addr) netip.Prefix { return peer.Network(peer.Address(a)) }

func prefix(t *testing.T, address string) netip.Prefix {
	t.Helper()
	if address == "" {
		return network(&net.UnixAddr{Name: "@"})
	}
	return network(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)))
}

func TestAddressOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1":              "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1":     "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":         "fe80::/64",
		"":                         "invalid Prefix",
	} {
		if got := prefix(t, address).String(); got != want {
			t.Errorf("%s: got %s; want %s", address, got, want)
		}
	}
}

func TestArrivals(t *testing.T) {
	var s addresses
	limits := &Limits{ConnectRate: 3}
	a, b := prefix(t, "192.0.2.7:1"), prefix(t, "192.0.2.8:1")
	begin := time.Now()
	for i, tt := range []struct {
		at   time.Duration
		from netip.Prefix
		want string
	}{
		{0, a, ""}, {0, a, ""}, {0, a, ""}, {0, a, RefusedConnectRate}, {0, b, ""},
		{300 * time.Millisecond, a, RefusedConnectRate}, // refused ones cost nothing
		{400 * time.Millisecond, a, ""}, {400 * time.Millisecond, a, RefusedConnectRate},
		{time.Hour, a, ""}, {time.Hour, a, ""}, {time.Hour, a, ""}, {time.Hour, a, RefusedConnectRate}, // not more than a second's worth
		{time.Hour, netip.Prefix{}, ""},
	} {
		if got := s.refuses(tt.from, limits, begin.Add(tt.at)); got != tt.want {
			t.Errorf("%d: from %v at %v: %q; want %q", i, tt.from, tt.at, got, tt.want)
		}
	}
}

// Very many addresses cost no more memory, and none stays that has gone.
func TestAddressesAreBounded(t *testing.T) {
	var s addresses
	limits := &Limits{ConnectRate: 1, MaxPerAddress: 1}
	now := time.Now()
	var all []netip.Prefix
	for i := range 3 * maxPaces {
		p := prefix(t, fmt.Sprintf("[2001:db8:%x:%x::1]:1", i/256, i%256))
		if got := s.refuses(p, limits, now.Add(time.Duration(i)*time.Microsecond)); got != "" {
			t.Fatalf("%v: %s", p, got)
		}
		s.opened(p)
		all = append(all, p)
		if len(s.paces) > maxPaces {
			t.Fatalf("%d are known", len(s.paces))
		}
	}
	if got := s.refuses(all[0], limits, now); got != RefusedMaxPerAddress {
		t.Errorf("a second connection: %q", got)
	}
	for _, p := range all {
		s.closed(p)
	}
	s.closed(netip.Prefix{})
	if len(s.open) != 0 {
		t.Errorf("%d stay", len(s.open))
	}
	s.refuses(prefix(t, "192.0.2.7:1"), limits, now.Add(time.Minute))
	if len(s.paces) != 1 {
		t.Errorf("%d are known after a minute", len(s.paces))
	}
}
