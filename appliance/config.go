package appliance

import (
	"io/fs"
	"log/slog"
	"time"
)

// Config is everything a person can set about one broker. Start from
// [DefaultConfig] or [LoadConfig]: the zero value is not valid. A Config is a
// plain value; copies share the slices and maps in it. edgebroker.example.yml, see
// [ExampleConfig], says of every key when to change it.
type Config struct {
	Listeners []ListenerConfig `yaml:"listeners"`
	Control   ControlConfig    `yaml:"control"`
	HTTP      HTTPConfig       `yaml:"http"`
	Access    AccessConfig     `yaml:"access"`
	Memory    MemoryBudget     `yaml:"memory"`
	Limits    LimitsConfig     `yaml:"limits"`
	Sessions  SessionsConfig   `yaml:"sessions"`
	Retained  RetainedConfig   `yaml:"retained"`
	Storage   StorageConfig    `yaml:"storage"`
	Bridges   []BridgeConfig   `yaml:"bridges"`
	Events    EventsConfig     `yaml:"events"`
	Sys       SysConfig        `yaml:"sys"`
	Statsd    StatsdConfig     `yaml:"statsd"`
	OTLP      OTLPConfig       `yaml:"otlp"`
	Log       LogConfig        `yaml:"log"`
	Upgrade   UpgradeConfig    `yaml:"upgrade"`
}

// The kinds of listener.
const (
	ListenTCP       = "tcp"
	ListenWebSocket = "ws" // MQTT over WebSocket
	ListenUnix      = "unix"

	ListenTLS          = "tls" // MQTT over TLS
	ListenWebSocketTLS = "wss" // MQTT over WebSocket over TLS
)

// DefaultSocketMode is the mode of a unix socket whose mode is not set: its
// owner and its group may connect.
const DefaultSocketMode fs.FileMode = 0o660

// ListenerConfig is one place where MQTT clients connect. Name tells it apart
// in logs and statistics. Address is an absolute path for unix, else "host:port"
// (port 0: any free port; no host: every interface), or, for all types,
// "systemd:NAME": the socket of that name that the service manager has bound.
type ListenerConfig struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"` // ListenTCP (also when empty) or another of the kinds above
	Address string `yaml:"address"`
	// AllowAnonymous lets clients in that do not say who they are. Nil means:
	// yes where only this machine can reach the listener (loopback and unix), or
	// nobody without a certificate, and AccessConfig names no way to sign in, else
	// no. Read it with Config.Anonymous.
	AllowAnonymous *bool `yaml:"allow_anonymous"`
	// Mode is the mode of a unix socket, 0 for DefaultSocketMode.
	Mode fs.FileMode `yaml:"mode"`
	// AllowedOrigins are the web pages that may connect to a WebSocket
	// listener, as scheme://host[:port], besides those that come from its own
	// host and port. "*" is any page.
	AllowedOrigins []string `yaml:"allowed_origins"`

	// ProxyProtocol are the proxies, as addresses or networks, whose connections
	// begin with a PROXY header (version 1 or 2) that says where they really
	// come from; for a unix listener only ProxyUnix. Others send none.
	ProxyProtocol []string       `yaml:"proxy_protocol"`
	MQTTVersions  []MQTTVersion  `yaml:"mqtt_versions"` // that clients may speak; empty: all
	Sources       []AccessSource `yaml:"sources"`       // of AccessConfig that are asked about clients; empty: all

	// Limits of this listener alone, besides those of LimitsConfig; 0: none.
	MaxConnections int `yaml:"max_connections"`
	MaxPerAddress  int `yaml:"max_connections_per_address"`
	ConnectRate    int `yaml:"connect_rate"`
	// Limits in place of those of LimitsConfig; 0: as there.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	MaxPacketSize  ByteSize      `yaml:"max_packet_size"`

	// Absolute paths of PEM files, for tls and wss. Changes are noticed while
	// the broker runs. See docs/TLS.md.
	Certificate string `yaml:"certificate"` // the broker's, then those that lead up to its authority
	PrivateKey  string `yaml:"key"`         // of Certificate; only its owner may read it; or credential:NAME, see ResolvePath
	ClientCA    string `yaml:"client_ca"`   // the authorities whose clients may come in
	CRL         string `yaml:"crl"`         // their lists of revoked certificates
	// ClientCertificates says whether clients must show one; read it with AsksFor.
	ClientCertificates ClientCertificates `yaml:"client_certificates"`
	MinVersion         TLSVersion         `yaml:"min_version"` // of TLS
}

// ControlConfig is the socket on which the daemon answers its own commands.
type ControlConfig struct {
	Socket string      `yaml:"socket"` // absolute path; empty: see Path
	Mode   fs.FileMode `yaml:"mode"`
}

// Path is where the control socket is: Socket or, when that is empty,
// [DefaultSocket].
func (c ControlConfig) Path() string {
	if c.Socket == "" {
		return DefaultSocket()
	}
	return c.Socket
}

// LimitsConfig bounds what one connection, and all of them together, may cost.
type LimitsConfig struct {
	MaxConnections     int           `yaml:"max_connections"`             // 0: no limit
	MaxPerAddress      int           `yaml:"max_connections_per_address"` // an IPv4 address, or the /64 of an IPv6 one; 0: no limit
	ConnectRate        int           `yaml:"connect_rate"`                // connections per second from one such address; 0: any number
	MaxUnauthenticated int           `yaml:"max_unauthenticated"`         // connections that have not finished CONNECT
	ConnectTimeout     time.Duration `yaml:"connect_timeout"`             // from accept until CONNECT is complete
	MaxConnectSize     ByteSize      `yaml:"max_connect_size"`            // the whole CONNECT frame
	MaxPacketSize      ByteSize      `yaml:"max_packet_size"`             // any later frame, header included
	MaxTopicLevels     int           `yaml:"max_topic_levels"`            // in topics and filters
	ReceiveMaximum     int           `yaml:"receive_maximum"`             // QoS > 0 messages a client may have open towards us
	MaxInflight        int           `yaml:"max_inflight"`                // QoS > 0 messages we have open towards a client
	MaxTopicAlias      int           `yaml:"max_topic_alias"`             // aliases that a v5 client may define; 0: none
	MaxOutboundBytes   ByteSize      `yaml:"max_outbound_bytes"`          // waiting in a connection before QoS 0 to it is dropped
	PublishRate        int           `yaml:"publish_rate"`                // messages that a client may publish per second; 0: any number
	PublishBytes       ByteSize      `yaml:"publish_bytes"`               // of whole packets that it may publish per second; 0: any number
	PublishPatience    time.Duration `yaml:"publish_patience"`            // how long a client may go on at these limits before it is disconnected; 0: for ever
}

// SessionsConfig bounds what is kept for clients, connected or not.
type SessionsConfig struct {
	MaxSessions       int           `yaml:"max_sessions"`        // beyond which no new one is kept; 0: no limit
	MaxSubscriptions  int           `yaml:"max_subscriptions"`   // per session; 0: no limit
	MaxExpiry         time.Duration `yaml:"max_expiry"`          // whole seconds, at least one
	MaxQueuedMessages int           `yaml:"max_queued_messages"` // per session
	MaxQueuedBytes    ByteSize      `yaml:"max_queued_bytes"`    // per session
	TotalQueuedBytes  ByteSize      `yaml:"total_queued_bytes"`  // all sessions together
	WhenFull          WhenFull      `yaml:"when_full"`           // empty: see Config.FullQueue

	// Classes are sessions whose queues have bounds of their own: that of a
	// session is the first which matches, looked up whenever its client
	// connects.
	Classes []SessionClass `yaml:"classes"`
}

// WhenFull says what gives way when a session queue is full. What is dropped
// is counted and reported as a drop event; what is refused stays with its
// publisher, who is told.
type WhenFull string

// The rules for a full queue.
const (
	DropOldest WhenFull = "drop_oldest"
	DropNewest WhenFull = "drop_newest"
	// Refuse turns QoS 1 and 2 messages away: reason 0x97 in MQTT 5, no
	// acknowledgement before. QoS 0 is dropped as by DropNewest.
	Refuse WhenFull = "refuse"
)

// FullQueue is the rule for full session queues: Sessions.WhenFull or, when
// that is empty, Refuse if there is a Storage.Directory, else DropOldest.
func (c Config) FullQueue() WhenFull {
	switch {
	case c.Sessions.WhenFull != "":
		return c.Sessions.WhenFull
	case c.Storage.Directory != "":
		return Refuse
	}
	return DropOldest
}

// RetainedConfig bounds the retained messages. A message for a new topic
// beyond either bound is refused.
type RetainedConfig struct {
	MaxMessages int      `yaml:"max_messages"`
	MaxBytes    ByteSize `yaml:"max_bytes"` // topics, properties and payloads
}

// EventsConfig is about event handlers.
type EventsConfig struct {
	Queue      int            `yaml:"queue"`      // events waiting per handler before the newest is dropped
	Provenance bool           `yaml:"provenance"` // remember who publishes on which topics, and which are the busiest
	Recorder   RecorderConfig `yaml:"recorder"`
	Sinks      []SinkConfig   `yaml:"sinks"`
}

// LogConfig is about the log, which goes to standard error.
type LogConfig struct {
	Level  slog.Level `yaml:"level"`
	Format LogFormat  `yaml:"format"`
}

// LogFormat is how log lines look.
type LogFormat string

// The log formats.
const (
	LogAuto    LogFormat = "auto" // journal where the output goes there, else text
	LogText    LogFormat = "text"
	LogJSON    LogFormat = "json"
	LogJournal LogFormat = "journal" // records of systemd's, with fields
)

// DefaultConfig is the configuration of a broker that was told nothing: one
// TCP listener on loopback, state in memory, bounds that suit a gateway with
// 256 MB or more. It is valid, and every call returns a new value.
func DefaultConfig() Config {
	return Config{
		Listeners: []ListenerConfig{{Name: "local", Type: ListenTCP, Address: "127.0.0.1:1883"}},
		Control:   ControlConfig{Mode: DefaultSocketMode},
		HTTP:      HTTPConfig{Dashboard: DashboardAuto},
		Limits: LimitsConfig{
			MaxConnections:     10000,
			MaxUnauthenticated: 256,
			ConnectTimeout:     5 * time.Second,
			MaxConnectSize:     64 * KiB,
			MaxPacketSize:      1 * MiB,
			MaxTopicLevels:     128,
			ReceiveMaximum:     1024,
			MaxInflight:        256,
			MaxTopicAlias:      32,
			MaxOutboundBytes:   1 * MiB,
		},
		Sessions: SessionsConfig{
			MaxSessions:       20000,
			MaxExpiry:         7 * 24 * time.Hour,
			MaxQueuedMessages: 100000,
			MaxQueuedBytes:    16 * MiB,
			TotalQueuedBytes:  64 * MiB,
		},
		Retained: RetainedConfig{MaxMessages: 100000, MaxBytes: 32 * MiB},
		Storage:  defaultStorage(),
		Access:   defaultAccess(),
		Events:   EventsConfig{Queue: 1024, Provenance: true, Recorder: RecorderConfig{MaxBytes: 16 * MiB}},
		Sys:      SysConfig{Interval: 10 * time.Second},
		Statsd:   defaultStatsd(),
		Log:      LogConfig{Level: slog.LevelInfo, Format: LogAuto},
		OTLP:     defaultOTLP(),
		Upgrade:  defaultUpgrade(),
	}
}
