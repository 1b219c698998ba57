package statsd

import "time"

// Client describes one session and, while it is connected, its connection.
// ID, Username and Filters were chosen by the client: untrusted.
type Client struct {
	ID            string    `json:"id"`
	Username      string    `json:"username,omitempty"`
	Connected     bool      `json:"connected"`
	ConnectedAt   time.Time `json:"connectedAt,omitzero"` // of the current connection; zero for a part of the broker, as an uplink is
	Remote        string    `json:"remote,omitempty"`     // the peer's address
	Listener      string    `json:"listener,omitempty"`
	Protocol      string    `json:"protocol"`  // "3.1", "3.1.1" or "5"
	KeepAlive     uint16    `json:"keepAlive"` // seconds, 0 is off
	CleanStart    bool      `json:"cleanStart"`
	SessionExpiry uint32    `json:"sessionExpiry"` // seconds after the connection's end, 4294967295 is never
	Subscriptions int       `json:"subscriptions"`

	Received      Count  `json:"received"`      // messages from the client
	Sent          Count  `json:"sent"`          // messages to the client
	ReceivedBytes uint64 `json:"receivedBytes"` // on the wire
	SentBytes     uint64 `json:"sentBytes"`     // on the wire
	Queued        Store  `json:"queued"`        // waiting to be sent
	Inflight      int64  `json:"inflight"`      // sent, not yet acknowledged
	Dropped       uint64 `json:"dropped"`       // deliveries to the client that were lost

	Pending       int64   `json:"pending"`       // bytes sent that the network has not taken
	Waited        float64 `json:"waited"`        // seconds that the oldest message of Queued has waited, or that the network has taken nothing
	WaitedAtLeast bool    `json:"waitedAtLeast"` // it may be longer: the store has brought messages, which do not tell
	Stalls        uint64  `json:"stalls"`        // how often the network has not taken for a while what was sent, on this connection
	Slow          bool    `json:"slow"`          // it does not keep up, as the latest event has said

	// Filters lists the subscriptions. Only the description of a single client
	// has it.
	Filters []ClientFilter `json:"filters,omitempty"`
}

// Count counts messages.
type Count struct {
	Messages     uint64 `json:"messages"`
	PayloadBytes uint64 `json:"payloadBytes"`
}

// ClientFilter is one subscription.
type ClientFilter struct {
	Filter string `json:"filter"` // as the client sent it, share prefix included
	QoS    byte   `json:"qos"`    // as granted
}
