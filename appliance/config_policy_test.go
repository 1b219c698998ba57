package appliance

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/wire"
)

func TestListenerPolicy(t *testing.T) {
	l := ListenerConfig{AllowedOrigins: []string{"https://a.example"}, ProxyProtocol: []string{"192.0.2.1", "::ffff:192.0.2.2", "10.0.0.0/8", "2001:db8::/32"},
		MQTTVersions: []MQTTVersion{"5", "3.1"}, MaxConnections: 1, MaxPerAddress: 2, ConnectRate: 3, ConnectTimeout: time.Second, MaxPacketSize: 4 * KiB}
	want := listen.Policy{
		Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"),
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Versions: []wire.Version{wire.V31, wire.V5}, Origins: []string{"https://a.example"},
		MaxConnections: 1, MaxPerAddress: 2, ConnectRate: 3, ConnectTimeout: time.Second, MaxPacketSize: 4096,
	}
	if got := l.policy(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := (ListenerConfig{ProxyProtocol: []string{ProxyUnix}}).policy(); !reflect.DeepEqual(got, listen.Policy{ProxyUnix: true}) {
		t.Errorf("unix: %+v", got)
	}
	if got := (ListenerConfig{}).policy(); !reflect.DeepEqual(got, listen.Policy{}) {
		t.Errorf("nothing said: %+v", got)
	}
}

// What a proxy passes on may come from anywhere, so that nobody is let in for
// being on this machine.
func TestProxiedIsNotLocal(t *testing.T) {
	yes := true
	for _, l := range []ListenerConfig{
		{Type: ListenUnix, Address: "/run/mqtt.sock", ProxyProtocol: []string{ProxyUnix}},
		{Address: "127.0.0.1:1883", ProxyProtocol: []string{"127.0.0.1"}},
		{Type: ListenWebSocket, Address: "[::1]:9001", ProxyProtocol: []string{"::1"}},
	} {
		c := DefaultConfig()
		if l.Local() || c.Anonymous(l) {
			t.Errorf("%s: local %v, anonymous %v", l.Address, l.Local(), c.Anonymous(l))
		}
		open := l
		if open.AllowAnonymous = &yes; !c.Anonymous(open) {
			t.Errorf("%s: nobody comes in where everybody may", l.Address)
		}
		if l.ProxyProtocol = nil; !l.Local() || !c.Anonymous(l) {
			t.Errorf("%s without a proxy: local %v, anonymous %v", l.Address, l.Local(), c.Anonymous(l))
		}
	}
}

// An address from outside leaves no trust behind that was for another kind of
// socket.
func TestSetAddressForgetsProxies(t *testing.T) {
	tcp := ListenerConfig{Type: ListenTCP, ProxyProtocol: []string{"127.0.0.1"}}
	for address, want := range map[string]int{"127.0.0.1:1884": 1, "/run/x": 0} {
		l := tcp
		if l.setAddress(address); len(l.ProxyProtocol) != want {
			t.Errorf("%s: %v", address, l.ProxyProtocol)
		}
	}
	unix := ListenerConfig{Type: ListenUnix, ProxyProtocol: []string{ProxyUnix}}
	for address, want := range map[string]int{"127.0.0.1:1884": 0, "/run/x": 1} {
		l := unix
		if l.setAddress(address); len(l.ProxyProtocol) != want {
			t.Errorf("%s: %v", address, l.ProxyProtocol)
		}
	}
}
