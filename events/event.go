// Package events carries what happens inside the broker to whoever listens.
//
// An Event says that one thing happened: a client connected, a message passed,
// a delivery was dropped. Producers offer events to a Bus; each listener has a
// goroutine and a bounded queue of its own there, so a listener that stalls or
// panics costs the producers and the other listeners nothing.
//
// A producer on a hot path asks first and builds the event only when somebody
// listens:
//
//	if bus.Wants(events.Message) {
//		bus.Publish(events.New(events.Message, clientID, events.MessageData{...}))
//	}
//
// The package knows nothing of MQTT: how a topic filter matches a topic is
// handed in with NewBus.
package events

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rs/xid"
)

// Type names what kind of thing an event reports. The constants below are the
// built-in types. Any other string is a custom type, of which the broker knows
// nothing: whoever embeds it publishes such events, or makes them of messages
// whose payload names the type.
type Type string

// The built-in types, each with the type of Event.Data that goes with it.
const (
	Connection     Type = "connection"     // ConnectionData: a client is connected
	Disconnection  Type = "disconnection"  // DisconnectionData: that connection ended
	Message        Type = "message"        // MessageData: a publish was accepted
	Subscription   Type = "subscription"   // SubscriptionData
	Unsubscription Type = "unsubscription" // UnsubscriptionData
	Drop           Type = "drop"           // DropData: a message or delivery was lost
	Refusal        Type = "refusal"        // RefusalData: a client was told no
	Slow           Type = "slow"           // SlowData: a client does not keep up, or does again
	Bridge         Type = "bridge"         // BridgeData: an uplink changed its state
	System         Type = "system"         // SystemData: the broker about itself
)

// Any, given as a type, stands for every type, built in or custom.
const Any Type = "*"

// Source is Event.Source of events that no client caused.
const Source = "edgebroker"

// BuiltIn reports whether the broker itself makes events of type t.
func (t Type) BuiltIn() bool { return bitOf(t) != bitCustom }

// Event reports one thing that happened. It is a plain value and may be kept.
// Handlers share Data, so they must not change what it refers to. Data holds
// one of the data types of this package as a value, never as a pointer.
//
// Events of one client reach a listener in the order in which they happened;
// across clients there is no order.
type Event struct {
	ID     string    `json:"id"`        // unique, and sortable by time
	Type   Type      `json:"type"`      // what happened
	Source string    `json:"source"`    // the client id (untrusted), or "edgebroker"
	Time   time.Time `json:"timestamp"` // when the broker saw it
	Data   any       `json:"data"`      // by Type; json.RawMessage or any JSON value for custom types
}

// New returns an event that happens now, with a fresh ID.
func New(t Type, source string, data any) Event {
	now := time.Now()
	return Event{ID: xid.NewWithTime(now).String(), Type: t, Source: source, Time: now, Data: data}
}

// TimeOfID is when New has made the event with that ID, cut to whole seconds. ok
// is false if it has made none with it.
func TimeOfID(id string) (t time.Time, ok bool) {
	x, err := xid.FromString(id)
	if err != nil || x.IsNil() {
		return time.Time{}, false
	}
	return x.Time().UTC(), true
}

// TimeLayout is RFC 3339 in UTC with all nine digits, so that timestamps have
// one width and sort as text.
const TimeLayout = "2006-01-02T15:04:05.000000000Z"

// eventSize is about what an event takes besides what its data points to.
const eventSize = 256

// size is about how many bytes of memory the event holds.
func (e *Event) size() int { return eventSize + len(e.Source) + sizeOf(e.Data) }

// MarshalJSON encodes the event as an object with the keys id, type, source,
// timestamp and data, in this order.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID     string `json:"id"`
		Type   Type   `json:"type"`
		Source string `json:"source"`
		Time   string `json:"timestamp"`
		Data   any    `json:"data"`
	}{e.ID, e.Type, e.Source, e.Time.UTC().Format(TimeLayout), e.Data})
}

// UnmarshalJSON decodes what MarshalJSON wrote. Data of a built-in type
// becomes the data type that belongs to it; data of every other type is kept
// as json.RawMessage; null becomes nil.
func (e *Event) UnmarshalJSON(b []byte) error {
	var in struct {
		ID     string          `json:"id"`
		Type   Type            `json:"type"`
		Source string          `json:"source"`
		Time   time.Time       `json:"timestamp"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("decode event: %w", err)
	}
	data, err := decodeData(in.Type, in.Data)
	if err != nil {
		return fmt.Errorf("decode data of %q event: %w", in.Type, err)
	}
	*e = Event{ID: in.ID, Type: in.Type, Source: in.Source, Time: in.Time.UTC(), Data: data}
	return nil
}

// decodeData turns the data of an event of type t into its Go value.
func decodeData(t Type, raw json.RawMessage) (any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	switch t {
	case Connection:
		return decodeAs[ConnectionData](raw)
	case Disconnection:
		return decodeAs[DisconnectionData](raw)
	case Message:
		return decodeAs[MessageData](raw)
	case Subscription:
		return decodeAs[SubscriptionData](raw)
	case Unsubscription:
		return decodeAs[UnsubscriptionData](raw)
	case Drop:
		return decodeAs[DropData](raw)
	case Refusal:
		return decodeAs[RefusalData](raw)
	case Bridge:
		return decodeAs[BridgeData](raw)
	case Slow:
		return decodeAs[SlowData](raw)
	case System:
		return decodeAs[SystemData](raw)
	}
	return raw, nil
}

// decodeAs decodes raw as a T and returns it as a plain value.
func decodeAs[T any](raw json.RawMessage) (any, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return v, nil
}
