package events

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

// ConnectionData belongs to Connection: the client has its CONNACK.
type ConnectionData struct {
	ClientID       string `json:"clientId"`           // untrusted
	Username       string `json:"username,omitempty"` // untrusted unless authenticated
	Remote         string `json:"remote"`             // the peer's address
	Listener       string `json:"listener"`           // name of the listener it came in by
	Protocol       string `json:"protocol"`           // "3.1", "3.1.1" or "5"
	KeepAlive      uint16 `json:"keepAlive"`          // seconds, 0 is off
	CleanStart     bool   `json:"cleanStart"`
	SessionPresent bool   `json:"sessionPresent"`    // an earlier session goes on
	SessionExpiry  uint32 `json:"sessionExpiry"`     // seconds after the connection's end, 4294967295 is never
	Bridge         string `json:"bridge,omitempty"`  // the uplink that has told of it: the client is none of this broker's
	Gateway        string `json:"gateway,omitempty"` // whose it is then, if it is that of another broker
}

// DisconnectionData belongs to Disconnection: that connection has ended. There is
// exactly one for each Connection.
type DisconnectionData struct {
	ClientID string        `json:"clientId"`
	Username string        `json:"username,omitempty"`
	Remote   string        `json:"remote"`
	Listener string        `json:"listener"`
	Protocol string        `json:"protocol"`
	Reason   string        `json:"reason"`           // one word of a fixed set, such as "normal" or "keepalive_timeout"
	Error    string        `json:"error,omitempty"`  // the error behind the reason, if any
	Duration time.Duration `json:"-"`                // how long it was connected; "duration" in JSON, seconds
	Received uint64        `json:"received"`         // messages the client published
	Sent     uint64        `json:"sent"`             // messages sent to the client
	Bridge   string        `json:"bridge,omitempty"` // as in ConnectionData
	Gateway  string        `json:"gateway,omitempty"`
}

// disconnectionJSON is DisconnectionData without its methods, and with the
// duration in seconds.
type disconnectionJSON struct {
	disconnectionFields
	Duration float64 `json:"duration"`
}

type disconnectionFields DisconnectionData

// MarshalJSON writes the duration as seconds.
func (d DisconnectionData) MarshalJSON() ([]byte, error) {
	return json.Marshal(disconnectionJSON{disconnectionFields(d), d.Duration.Seconds()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *DisconnectionData) UnmarshalJSON(b []byte) error {
	var in disconnectionJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*d = DisconnectionData(in.disconnectionFields)
	d.Duration = time.Duration(in.Duration*float64(time.Second) + 0.5)
	return nil
}

// MessageData belongs to Message: a publish was accepted. The payload is shared
// with the broker and with every other handler: read it, keep it, do not change
// it.
type MessageData struct {
	ClientID string // the publisher, untrusted
	Topic    string // untrusted
	Payload  []byte // "payload" in JSON if it is valid UTF-8, else "payloadBase64"
	QoS      byte
	Retain   bool
	Dup      bool
	Size     int // bytes of payload
}

// messageJSON is the JSON form of MessageData.
type messageJSON struct {
	ClientID string  `json:"clientId"`
	Topic    string  `json:"topic"`
	Payload  *string `json:"payload,omitempty"`
	Base64   []byte  `json:"payloadBase64,omitempty"`
	QoS      byte    `json:"qos"`
	Retain   bool    `json:"retain"`
	Dup      bool    `json:"dup,omitempty"`
	Size     int     `json:"size"`
}

// MarshalJSON writes the payload as text when it is valid UTF-8 (the empty
// payload is), and in base64 otherwise.
func (m MessageData) MarshalJSON() ([]byte, error) {
	out := messageJSON{ClientID: m.ClientID, Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Dup: m.Dup, Size: m.Size}
	if utf8.Valid(m.Payload) {
		text := string(m.Payload)
		out.Payload = &text
	} else {
		out.Base64 = m.Payload
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *MessageData) UnmarshalJSON(b []byte) error {
	var in messageJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Payload != nil && in.Base64 != nil {
		return errors.New("message holds both payload and payloadBase64")
	}
	*m = MessageData{ClientID: in.ClientID, Topic: in.Topic, Payload: in.Base64, QoS: in.QoS, Retain: in.Retain, Dup: in.Dup, Size: in.Size}
	if in.Payload != nil {
		m.Payload = []byte(*in.Payload)
	}
	return nil
}

// SubscriptionData belongs to Subscription: one filter was granted.
type SubscriptionData struct {
	ClientID string `json:"clientId"`
	Filter   string `json:"filter"`           // without the $share prefix
	QoS      byte   `json:"qos"`              // as granted
	Shared   string `json:"shared,omitempty"` // the share group, if any
}

// UnsubscriptionData belongs to Unsubscription: a client asked to have one
// filter removed. The end of a session makes no such events.
type UnsubscriptionData struct {
	ClientID string `json:"clientId"`
	Filter   string `json:"filter"`
}

// DropData belongs to Drop: a message did not reach somebody, or nobody.
type DropData struct {
	ClientID  string `json:"clientId,omitempty"` // whose delivery; empty if the message as a whole was dropped
	Publisher string `json:"publisher,omitempty"`
	Topic     string `json:"topic"`
	QoS       byte   `json:"qos"`
	Reason    string `json:"reason"` // one word of a fixed set, such as "queue_full"
	Count     uint64 `json:"count"`  // how many drops this event stands for, at least 1
}

// RefusalData belongs to Refusal: a client asked for something and was denied.
type RefusalData struct {
	ClientID string `json:"clientId,omitempty"`
	Remote   string `json:"remote,omitempty"`
	What     string `json:"what"`            // "connect", "authenticate", "publish", "subscribe", "publish_rate" (it is slowed down), or "login" (at the HTTP address)
	Topic    string `json:"topic,omitempty"` // the topic or filter, if any
	Reason   string `json:"reason"`
}

// BridgeData belongs to Bridge: an uplink is in another state.
type BridgeData struct {
	Bridge string `json:"bridge"` // its name
	URL    string `json:"url,omitempty"`
	State  string `json:"state"`         // "connecting", "up", "stalled", "down" or "paused"
	Why    string `json:"why,omitempty"` // what is wrong, unless it is up
}

// The words of SlowData.State.
const (
	SlowBegins = "slow"
	SlowEnds   = "recovered"
)

// SlowData belongs to Slow: a connected client does not take its messages as
// they come, or does again. Each beginning has an end, unless the client
// disconnects.
type SlowData struct {
	ClientID string  `json:"clientId"`
	State    string  `json:"state"`   // "slow" or "recovered"
	Queued   int     `json:"queued"`  // messages that wait for it
	Pending  int     `json:"pending"` // bytes sent that the network has not taken
	Waited   float64 `json:"waited"`  // seconds that the oldest of them has waited
	Lasted   float64 `json:"lasted"`  // seconds that it has been slow, when it is over
}

// SystemData belongs to System: the broker reports about itself.
type SystemData struct {
	What   string `json:"what"` // one word, such as "started"
	Detail string `json:"detail,omitempty"`
}

// About is the client that the event is about or, if its data names none, that
// has caused it; "" if there is no such client.
func (e *Event) About() string {
	if client := clientOf(e.Data); client != "" || e.Source == Source {
		return client
	}
	return e.Source
}

// clientOf returns the client that d is about, or "".
func clientOf(d any) string {
	switch d := d.(type) {
	case ConnectionData:
		return d.ClientID
	case DisconnectionData:
		return d.ClientID
	case MessageData:
		return d.ClientID
	case SubscriptionData:
		return d.ClientID
	case UnsubscriptionData:
		return d.ClientID
	case DropData:
		return d.ClientID
	case RefusalData:
		return d.ClientID
	case SlowData:
		return d.ClientID
	}
	return ""
}

// topicOf returns the topic of a message or a drop. Other data has none.
func topicOf(d any) (topic string, ok bool) {
	switch d := d.(type) {
	case MessageData:
		return d.Topic, true
	case DropData:
		return d.Topic, true
	}
	return "", false
}

// sizeOf is about how many bytes d refers to. What it repeats of Event.Source, and
// words of the broker's own, do not count.
func sizeOf(d any) int {
	switch d := d.(type) {
	case MessageData:
		return len(d.Topic) + len(d.Payload)
	case ConnectionData:
		return len(d.Username)
	case DisconnectionData:
		return len(d.Username) + len(d.Error)
	case SubscriptionData:
		return len(d.Filter) + len(d.Shared)
	case UnsubscriptionData:
		return len(d.Filter)
	case DropData:
		return len(d.Publisher) + len(d.Topic)
	case RefusalData:
		return len(d.Topic)
	case BridgeData:
		return len(d.Why)
	case SystemData:
		return len(d.Detail)
	case json.RawMessage:
		return len(d)
	}
	return 0
}
