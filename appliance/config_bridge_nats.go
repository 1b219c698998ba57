package appliance

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
)

// BridgeNATS is what an uplink to NATS needs besides what all uplinks need:
// docs/NATS.md.
type BridgeNATS struct {
	Stream      string       `yaml:"stream"`  // empty: no JetStream
	Durable     string       `yaml:"durable"` // empty: made of the client identifier
	OnlyWriter  bool         `yaml:"only_writer"`
	Retained    string       `yaml:"retained"` // the key-value bucket for retained messages; empty: none
	Window      int          `yaml:"window"`
	Events      BridgeEvents `yaml:"events"` // empty: no event mode
	Fleet       bool         `yaml:"fleet"`  // docs/FLEET.md
	Domain      string       `yaml:"domain"`
	Servers     []string     `yaml:"servers"` // others of the cluster, as in BridgeConfig.Address
	InboxPrefix string       `yaml:"inbox_prefix"`
	Creds       string       `yaml:"creds"` // files
	NKey        string       `yaml:"nkey"`
	Token       SecretRef    `yaml:"token"`
}

// BridgeEvents is how an uplink in event mode calls topics: docs/NATS-EVENTS.md.
type BridgeEvents string

// The names that it may use.
const (
	EventLevels BridgeEvents = "levels" // a/b is topic.a.b
	EventWhole  BridgeEvents = "whole"  // a/b is topic.a/b
)

// maxNATSWindow is how many messages an uplink may have on its way at most.
const maxNATSWindow = 65535

// nats reports whether the uplink leads to NATS.
func (c BridgeConfig) nats() bool {
	return strings.HasPrefix(c.Address, "nats://") || strings.HasPrefix(c.Address, "natss://")
}

func (c BridgeConfig) natsFindings(item string) []finding {
	groups := c.groupFindings(item)
	n, item := c.NATS, item+".nats"
	if !c.nats() {
		if !reflect.ValueOf(n).IsZero() {
			return append(groups, finding{path: item, what: "this is of no use where the uplink leads to MQTT", mend: "remove it, or write nats:// or natss:// in address"})
		}
		return groups
	}
	out := groups
	for _, name := range []struct{ key, value string }{{"stream", n.Stream}, {"durable", n.Durable}, {"domain", n.Domain}} {
		if strings.ContainsAny(name.value, " .*>/\\\t\r\n") || len(name.value) > 255 {
			out = append(out, finding{path: item + "." + name.key, what: quoteShort(name.value) + " is no name in JetStream", mend: "use letters, digits, _ and -"})
		}
	}
	if n.Stream == "" && (n.Durable != "" || n.OnlyWriter || n.Domain != "" && n.Retained == "") {
		out = append(out, finding{path: item, what: "durable, only_writer and domain are about JetStream", mend: "remove them, or set stream"})
	}
	out = append(out, c.retainedFindings(item)...)
	if strings.ContainsAny(n.InboxPrefix, " *>\t\r\n") || strings.HasSuffix(n.InboxPrefix, ".") {
		out = append(out, finding{path: item + ".inbox_prefix", what: quoteShort(n.InboxPrefix) + " is no subject", mend: "write one without wildcards, such as _INBOX_gateway17"})
	}
	out = append(out, within[int]{item + ".window", n.Window, 1, maxNATSWindow, true}.findings()...)
	for i, s := range n.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != c.scheme() {
			out = append(out, finding{path: fmt.Sprintf("%s.servers[%d]", item, i), what: quoteShort(s) + " is not the address of another server", mend: "write " + c.scheme() + "://HOST:PORT, as in address"})
		}
	}
	if n.Events != "" {
		out = append(out, oneOf(item+".events", n.Events, EventLevels, EventWhole)...)
	}
	ways := 0
	for _, f := range []struct{ key, file string }{{"creds", n.Creds}, {"nkey", n.NKey}} {
		if f.file != "" {
			ways++
			out = append(out, credentialPathFindings(item+"."+f.key, f.file)...)
		}
	}
	out = append(out, secretRefFindings(item+".token", n.Token)...)
	if n.Token != "" {
		ways++
	}
	if c.Username != "" {
		ways++
	}
	if ways > 1 {
		out = append(out, finding{path: item, what: "creds, nkey, token and username are different ways to log in", mend: "keep one of them"})
	}
	return out
}

// groupFindings checks the groups of gateways that topics name.
func (c BridgeConfig) groupFindings(item string) []finding {
	var out []finding
	first := -1
	for i, t := range c.Topics {
		at := fmt.Sprintf("%s.topics[%d]", item, i)
		in := t.Direction == BridgeIn || t.Direction == BridgeBoth
		switch {
		case t.Group != "" && !c.nats():
			out = append(out, finding{path: at + ".group", what: "groups are of NATS", mend: "remove it; with MQTT write $share into the filter of a subscriber there"})
		case t.Group != "" && !in:
			out = append(out, finding{path: at + ".group", what: "a group is for what comes in", mend: "remove it, or set direction to in"})
		case t.Group != "" && (strings.ContainsAny(t.Group, " .*>/\\\t\r\n") || len(t.Group) > 255):
			out = append(out, finding{path: at + ".group", what: quoteShort(t.Group) + " is no name in NATS", mend: "use letters, digits, _ and -"})
		}
		if !in || c.NATS.Stream == "" {
			continue
		}
		if first < 0 {
			first = i
		}
		if t.Group != c.Topics[first].Group {
			out = append(out, finding{path: at + ".group", what: "all that comes in from a stream comes by one consumer, so that there is one group, and not that of", other: fmt.Sprintf("%s.topics[%d]", item, first), mend: "use the same, or another uplink"})
		}
	}
	return out
}

func (c BridgeConfig) scheme() string {
	scheme, _, _ := strings.Cut(c.Address, "://")
	return scheme
}
