package appliance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
)

// The messages about clients, with the fields that EMQX gives them. Times are
// milliseconds since 1970.
type (
	clientConnected struct {
		Username       string `json:"username"`
		TS             int64  `json:"ts"`
		SockPort       uint16 `json:"sockport"` // where the client came in; 0: not by a port
		ProtoVer       int    `json:"proto_ver"`
		ProtoName      string `json:"proto_name"`
		KeepAlive      uint16 `json:"keepalive"`
		IPAddress      string `json:"ipaddress"` // empty: none, the client is on this machine
		ExpiryInterval uint32 `json:"expiry_interval"`
		ConnectedAt    int64  `json:"connected_at"`
		Connack        int    `json:"connack"` // always 0
		ClientID       string `json:"clientid"`
		CleanStart     bool   `json:"clean_start"`
	}
	clientDisconnected struct {
		Username       string `json:"username"`
		TS             int64  `json:"ts"`
		SockPort       uint16 `json:"sockport"`
		Reason         string `json:"reason"`
		ProtoVer       int    `json:"proto_ver"`
		ProtoName      string `json:"proto_name"`
		IPAddress      string `json:"ipaddress"`
		DisconnectedAt int64  `json:"disconnected_at"`
		ClientID       string `json:"clientid"`
	}
	clientSubscribed struct {
		Username string         `json:"username"`
		TS       int64          `json:"ts"`
		Topic    string         `json:"topic"`
		SubOpts  *clientSubOpts `json:"subopts,omitempty"` // not of unsubscribed
		Protocol string         `json:"protocol"`          // always "mqtt"
		ClientID string         `json:"clientid"`
	}
	clientSubOpts struct {
		QoS   byte   `json:"qos"` // as granted
		Share string `json:"share,omitempty"`
	}
)

// clientTeller says on $SYS who comes and goes. The event bus calls it from one
// goroutine.
type clientTeller struct {
	prefix   string // of topics
	heard    func() bool
	tell     func([]relay.Own)
	address  func(listener string) string
	username func(client string) string
	ports    map[string]uint16 // of listeners, which may be gone when their clients are
}

// tellClients begins to say who comes and goes.
func (b *Broker) tellClients() {
	c := b.conf()
	t := &clientTeller{prefix: relay.SystemRoot + "/brokers/" + c.Sys.NodeName() + "/clients/",
		heard: func() bool { return b.relay.Heard(relay.SystemRoot) }, tell: b.relay.Tell, address: b.Addr, ports: make(map[string]uint16),
		username: func(client string) string {
			if conn := b.sessions.Conn(client); conn != nil {
				return conn.Username()
			}
			return ""
		}}
	f := events.Filter{Types: []events.Type{events.Connection, events.Disconnection}}
	if c.Sys.Subscriptions {
		f.Types = append(f.Types, events.Subscription, events.Unsubscription)
	}
	b.bus.Subscribe("sys clients", f, c.Events.Queue, t.event)
}

func (t *clientTeller) event(e events.Event) {
	at := e.Time.UnixMilli()
	switch d := e.Data.(type) {
	case events.ConnectionData:
		if d.Bridge != "" {
			return // it is no client of this broker
		}
		port := t.port(d.Listener) // also when nobody hears it: the listener is there now
		t.send(d.ClientID, "connected", clientConnected{Username: d.Username, TS: at, SockPort: port, ProtoVer: protoVer(d.Protocol),
			ProtoName: protoName(d.Protocol), KeepAlive: d.KeepAlive, IPAddress: ipAddress(d.Remote), ExpiryInterval: d.SessionExpiry,
			ConnectedAt: at, ClientID: d.ClientID, CleanStart: d.CleanStart})
	case events.DisconnectionData:
		if d.Bridge != "" {
			return
		}
		t.send(d.ClientID, "disconnected", clientDisconnected{Username: d.Username, TS: at, SockPort: t.port(d.Listener), Reason: d.Reason,
			ProtoVer: protoVer(d.Protocol), ProtoName: protoName(d.Protocol), IPAddress: ipAddress(d.Remote), DisconnectedAt: at,
			ClientID: d.ClientID})
	case events.SubscriptionData:
		t.send(d.ClientID, "subscribed", clientSubscribed{Username: t.username(d.ClientID), TS: at, Topic: d.Filter,
			SubOpts: &clientSubOpts{QoS: d.QoS, Share: d.Shared}, Protocol: "mqtt", ClientID: d.ClientID})
	case events.UnsubscriptionData:
		t.send(d.ClientID, "unsubscribed", clientSubscribed{Username: t.username(d.ClientID), TS: at, Topic: d.Filter,
			Protocol: "mqtt", ClientID: d.ClientID})
	}
}

func (t *clientTeller) send(client, what string, message any) {
	if !t.heard() {
		return
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	if err := out.Encode(message); err != nil {
		panic(fmt.Sprintf("encode %T: %v", message, err)) // strings and numbers always can be
	}
	topic := t.prefix + topicLevel(client) + "/" + what
	t.tell([]relay.Own{{Topic: topic, Payload: bytes.TrimSuffix(text.Bytes(), []byte("\n"))}})
}

// port is the TCP port of a listener, 0 if it has none.
func (t *clientTeller) port(listener string) uint16 {
	if at, err := netip.ParseAddrPort(t.address(listener)); err == nil {
		t.ports[listener] = at.Port()
	}
	return t.ports[listener]
}

// ipAddress is the address in "address:port", "" if there is none.
func ipAddress(remote string) string {
	if at, err := netip.ParseAddrPort(remote); err == nil {
		return at.Addr().Unmap().String()
	}
	return ""
}

func protoVer(version string) int {
	switch version {
	case "3.1":
		return 3
	case "3.1.1":
		return 4
	}
	return 5
}

func protoName(version string) string {
	if version == "3.1" {
		return "MQIsdp"
	}
	return "MQTT"
}

// maxTopicLevel is how many bytes of a client identifier get into a topic.
const maxTopicLevel = 4096

// topicLevel makes any text one level of a topic: / + # and % and control
// characters become %XX, byte by byte, so that no client identifier can be taken
// for another one or for more levels than one. What is longer than maxTopicLevel
// then is cut.
func topicLevel(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		char := s[:n]
		if strings.ContainsRune("/+#%", r) || unicode.IsControl(r) || r == utf8.RuneError && n == 1 {
			char = "%" + strings.ReplaceAll(fmt.Sprintf("% X", char), " ", "%")
		}
		if b.Len()+len(char) > maxTopicLevel {
			break
		}
		b.WriteString(char)
		s = s[n:]
	}
	return b.String()
}
