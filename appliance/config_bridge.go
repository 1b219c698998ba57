package appliance

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/wire"
)

// BridgeConfig is one uplink: another broker that this one is a client of. What
// is 0 or empty is as docs/BRIDGES.md says.
type BridgeConfig struct {
	Name     string        `yaml:"name"`
	Address  string        `yaml:"address"`   // mqtt://, mqtts://, ws:// or wss://; nats:// or natss://
	ClientID string        `yaml:"client_id"` // empty: see ClientName
	Version  BridgeVersion `yaml:"version"`   // empty: 5
	Username string        `yaml:"username"`
	Password SecretRef     `yaml:"password"`

	PasswordCommand []string      `yaml:"password_command"` // a program and its arguments
	TokenLifetime   time.Duration `yaml:"token_lifetime"`   // of what it writes; 0: unknown

	CA          string `yaml:"ca"`          // PEM file of the authorities to trust; empty: the system's
	Certificate string `yaml:"certificate"` // PEM files of our certificate and its key; empty: none
	PrivateKey  string `yaml:"key"`

	Proxy         string    `yaml:"proxy"` // empty: what the environment says; NoProxy: none
	ProxyUsername string    `yaml:"proxy_username"`
	ProxyPassword SecretRef `yaml:"proxy_password"`

	Topics []BridgeTopic `yaml:"topics"`
	NATS   BridgeNATS    `yaml:"nats"`
	Canary BridgeCanary  `yaml:"canary"`

	KeepAlive     time.Duration `yaml:"keep_alive"`
	SessionExpiry time.Duration `yaml:"session_expiry"`
	AckTimeout    time.Duration `yaml:"ack_timeout"`
	RetryMin      time.Duration `yaml:"retry_min"`
	RetryMax      time.Duration `yaml:"retry_max"`
	LoopGuard     *bool         `yaml:"loop_guard"` // nil: yes

	SendRate  int      `yaml:"send_rate"`  // messages per second; 0: any number
	SendBytes ByteSize `yaml:"send_bytes"` // per second; 0: any number

	Lanes []BridgeLane `yaml:"lanes"` // the first goes first
	Order BridgeOrder  `yaml:"order"` // empty: OldestFirst

	MaxQueuedMessages int      `yaml:"max_queued_messages"`
	MaxQueuedBytes    ByteSize `yaml:"max_queued_bytes"`
	WhenFull          WhenFull `yaml:"when_full"`
}

// BridgeTopic says which messages pass an uplink, and what they are called on
// the other side.
type BridgeTopic struct {
	Filter       string          `yaml:"filter"`
	Direction    BridgeDirection `yaml:"direction"` // empty: out
	QoS          int             `yaml:"qos"`       // at most
	LocalPrefix  string          `yaml:"local_prefix"`
	RemotePrefix string          `yaml:"remote_prefix"`
	Retain       *bool           `yaml:"retain"` // nil: yes
	TTL          time.Duration   `yaml:"ttl"`    // 0: for ever
	Keep         BridgeKeep      `yaml:"keep"`   // empty: all
	Lane         string          `yaml:"lane"`   // by which it goes out; empty: by none
	Group        string          `yaml:"group"`  // of gateways, for what comes in from NATS
}

// BridgeDirection is where messages pass to.
type BridgeDirection string

// The directions.
const (
	BridgeOut  BridgeDirection = "out"
	BridgeIn   BridgeDirection = "in"
	BridgeBoth BridgeDirection = "both"
)

var directions = map[BridgeDirection]bridge.Direction{"": bridge.Out, BridgeOut: bridge.Out, BridgeIn: bridge.In, BridgeBoth: bridge.Both}

// What counts where a BridgeConfig says nothing.
const (
	bridgeKeepAlive     = 30 * time.Second
	bridgeSessionExpiry = 7 * 24 * time.Hour
	bridgeAckTimeout    = 30 * time.Second
	bridgeMessages      = 1_000_000
	bridgeBytes         = 256 * MiB
	bridgeHops          = 8

	deadLetters = 10_000
	deadBytes   = 16 * MiB
)

// ClientName is ClientID or, when that is empty, the host's name and the
// uplink's.
func (c BridgeConfig) ClientName() string {
	if c.ClientID != "" {
		return c.ClientID
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "edgebroker"
	}
	return host + "-" + c.Name
}

func bridgeItem(i int) string { return fmt.Sprintf("bridges[%d]", i) }

var entryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// entryNameFindings checks the name of the i-th entry of a list, of which nameOf and
// itemOf tell the names and paths. what says what an entry is, example how one may be called.
func entryNameFindings(i int, nameOf, itemOf func(int) string, what, example string) []finding {
	name, path := nameOf(i), itemOf(i)+".name"
	if name == "" {
		return []finding{{path: path, what: "no name", mend: "set one, such as " + example}}
	}
	var out []finding
	if !entryName.MatchString(name) {
		out = append(out, finding{path: path, what: quoteShort(name) + " cannot name " + what, mend: "use up to 64 letters, digits, and _ . -"})
	}
	for j := range i {
		if nameOf(j) == name {
			out = append(out, finding{path: path, what: "the name is taken by", other: itemOf(j), mend: "pick another"})
		}
	}
	return out
}

func (c Config) bridgeFindings() []finding {
	if n := len(c.Bridges); n > maxListEntries {
		return []finding{{path: "bridges", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)}}
	}
	var out []finding
	for i, b := range c.Bridges {
		item := bridgeItem(i)
		out = append(out, entryNameFindings(i, func(j int) string { return c.Bridges[j].Name }, bridgeItem, "an uplink", "cloud")...)
		out = append(out, b.findings(item)...)
	}
	return out
}

func (c BridgeConfig) findings(item string) []finding {
	out := c.addressFindings(item)
	out = append(out, secretRefFindings(item+".password", c.Password)...)
	if c.Password != "" && c.Username == "" {
		out = append(out, finding{path: item + ".password", what: "there is no", other: item + ".username", mend: "set that too"})
	}
	for _, f := range []struct{ key, file string }{{"ca", c.CA}, {"certificate", c.Certificate}, {"key", c.PrivateKey}} {
		if f.file != "" {
			out = append(out, credentialPathFindings(item+"."+f.key, f.file)...)
		}
	}
	if (c.Certificate == "") != (c.PrivateKey == "") {
		out = append(out, finding{path: item, what: "certificate and key need each other", mend: "set both or none"})
	}
	if !c.encrypted() && (c.CA != "" || c.Certificate != "") {
		out = append(out, finding{path: item, what: "certificates are of no use without TLS in", other: item + ".address", mend: "write mqtts://, wss:// or natss:// there"})
	}
	if strings.HasPrefix(c.ClientID, "$") || len(c.ClientID) > 65535 || wire.ValidTopicString(c.ClientName()) != nil {
		out = append(out, finding{path: item + ".client_id", what: quoteShort(c.ClientID) + " cannot be a client identifier", mend: "use letters, digits and -"})
	}
	durations := []within[time.Duration]{
		{item + ".keep_alive", c.KeepAlive, time.Second, 65535 * time.Second, false},
		{item + ".session_expiry", c.SessionExpiry, time.Second, math.MaxUint32 * time.Second, false},
		{item + ".ack_timeout", c.AckTimeout, time.Second, time.Hour, false},
		{item + ".retry_min", c.RetryMin, 10 * time.Millisecond, time.Hour, false},
		{item + ".retry_max", c.RetryMax, 10 * time.Millisecond, 24 * time.Hour, false},
	}
	for _, w := range durations {
		if w.v != 0 {
			out = append(out, w.findings()...)
		}
	}
	if r := c.backoff(); r.Min > r.Max {
		out = append(out, finding{path: item + ".retry_min", what: valueText(r.Min) + " is more than the " + valueText(r.Max) + " of", other: item + ".retry_max", mend: "lower this or raise that"})
	}
	out = append(out, within[int]{item + ".send_rate", c.SendRate, 1, 10_000_000, true}.findings()...)
	out = append(out, within[ByteSize]{item + ".send_bytes", c.SendBytes, 1, 10 * GiB, true}.findings()...)
	if c.MaxQueuedMessages != 0 {
		out = append(out, within[int]{item + ".max_queued_messages", c.MaxQueuedMessages, 1, math.MaxInt32, false}.findings()...)
	}
	if c.MaxQueuedBytes != 0 {
		out = append(out, within[ByteSize]{item + ".max_queued_bytes", c.MaxQueuedBytes, 1 * KiB, math.MaxInt64, false}.findings()...)
	}
	if c.WhenFull != "" {
		out = append(out, oneOf(item+".when_full", c.WhenFull, DropOldest, DropNewest, Refuse)...)
	}
	out = append(append(append(out, c.canaryFindings(item)...), c.proxyFindings(item)...), append(c.tokenFindings(item), c.versionFindings(item)...)...)
	out = append(out, c.natsFindings(item)...)
	out = append(append(out, c.laneFindings(item)...), c.orderFindings(item)...)
	return append(out, c.topicFindings(item)...)
}

func (c BridgeConfig) encrypted() bool {
	return strings.HasPrefix(c.Address, "mqtts://") || strings.HasPrefix(c.Address, "wss://") || strings.HasPrefix(c.Address, "natss://")
}

func (c BridgeConfig) addressFindings(item string) []finding {
	path, mend := item+".address", "write mqtt://HOST:PORT, mqtts://HOST:PORT, ws:// or wss://HOST:PORT/PATH, nats:// or natss://HOST:PORT"
	if c.Address == "" {
		return []finding{{path: path, what: "no address", mend: mend}}
	}
	u, err := url.Parse(c.Address)
	switch {
	case err != nil || u.Host == "":
		return []finding{{path: path, what: quoteShort(c.Address) + " is not the address of a broker", mend: mend}}
	case u.User != nil:
		return []finding{{path: path, what: "names and passwords have no place here, where they are shown with the config", mend: "use username and password"}}
	}
	switch u.Scheme {
	case "mqtt", "mqtts":
		if u.Port() == "" {
			return []finding{{path: path, what: quoteShort(c.Address) + " has no port", mend: "add one, such as :1883 for mqtt or :8883 for mqtts"}}
		}
	case "nats", "natss":
		if u.Port() == "" {
			return []finding{{path: path, what: quoteShort(c.Address) + " has no port", mend: "add one, such as :4222"}}
		}
	case "ws", "wss":
	default:
		return []finding{{path: path, what: quoteShort(u.Scheme) + " is no scheme of uplinks", mend: mend}}
	}
	return nil
}

func (c BridgeConfig) topicFindings(item string) []finding {
	if len(c.Topics) == 0 {
		return []finding{{path: item + ".topics", what: "no message would ever pass", mend: "add one, such as {filter: \"#\", direction: out}"}}
	}
	if n := len(c.Topics); n > maxListEntries {
		return []finding{{path: item + ".topics", what: fmt.Sprintf("the list has %d entries", n), mend: fmt.Sprintf("%d is the most", maxListEntries)}}
	}
	var out []finding
	for i, t := range c.Topics {
		at := fmt.Sprintf("%s.topics[%d]", item, i)
		if t.Direction != "" {
			out = append(out, oneOf(at+".direction", t.Direction, BridgeOut, BridgeIn, BridgeBoth)...)
		}
		if t.QoS < 0 || t.QoS > 2 {
			out = append(out, finding{path: at + ".qos", what: fmt.Sprintf("QoS %d does not exist", t.QoS), mend: "use 0, 1 or 2"})
		}
		out = append(out, t.drainFindings(at)...)
		if t.Filter == "" {
			out = append(out, finding{path: at + ".filter", what: "no filter", mend: "write one, such as \"#\" or \"plant/+/alarm\""})
			continue
		}
		for _, p := range []struct{ key, prefix string }{{"local_prefix", t.LocalPrefix}, {"remote_prefix", t.RemotePrefix}} {
			switch {
			case strings.ContainsAny(p.prefix, "#+"):
				out = append(out, finding{path: at + "." + p.key, what: "a prefix has no wildcards", mend: "put them into filter"})
			case strings.HasPrefix(p.prefix+t.Filter, "$"):
				out = append(out, finding{path: at + "." + p.key, what: "topics that begin with $ belong to the broker where they are", mend: "use others"})
			case p.key == "remote_prefix" && p.prefix == t.LocalPrefix: // it has been said
			case wire.ValidFilter(p.prefix+t.Filter) != nil:
				out = append(out, finding{path: at + ".filter", what: fmt.Sprintf("%s is not a filter: %v", quoteShort(p.prefix+t.Filter), wire.ValidFilter(p.prefix+t.Filter)), mend: "write one, such as \"plant/#\"; a prefix ends with / in most cases"})
			}
		}
	}
	return out
}

func (c BridgeConfig) backoff() bridge.Backoff {
	b := bridge.DefaultBackoff()
	if c.RetryMin > 0 {
		b.Min = c.RetryMin
	}
	if c.RetryMax > 0 {
		b.Max = c.RetryMax
	}
	return b
}
