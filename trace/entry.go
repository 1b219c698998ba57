package trace

import (
	"time"
)

// What an Entry tells of.
const (
	Began      = "began"      // the trace: Note says what it follows
	Connection = "connection" // one that is shown from here on
	PacketSeen = "packet"
	Broken     = "broken" // what the client sent ends its connection
	Ended      = "ended"  // the connection
	Missed     = "missed" // entries that nobody took in time
)

// Directions of a packet.
const (
	In  = "in"  // from the client
	Out = "out" // to the client
)

// Entry is one line of a trace. Spans are in seconds.
type Entry struct {
	Time  time.Time `json:"time"`
	Since float64   `json:"since"`         // since the trace began
	Gap   *float64  `json:"gap,omitempty"` // since the packet before on the same connection
	What  string    `json:"what"`

	// The connection: numbered from 1 in the order in which connections are shown.
	Conn     uint64 `json:"connection,omitempty"`
	Client   string `json:"client,omitempty"` // as far as it is known
	Remote   string `json:"remote,omitempty"` // with Connection and Ended
	Listener string `json:"listener,omitempty"`

	Direction string  `json:"direction,omitempty"` // In or Out, of packets
	Packet    *Packet `json:"packet,omitempty"`
	Fault     *Fault  `json:"fault,omitempty"` // what is wrong with it
	Note      string  `json:"note,omitempty"`
	Missed    uint64  `json:"missed,omitempty"` // how many entries are missing here

	cost int // bytes of memory, roughly
}

// Packet is one packet. Texts are cut to 4 KiB and end in "..." then.
type Packet struct {
	Type string `json:"type"` // PUBLISH
	Size int    `json:"size"` // in bytes on the wire, header included
	ID   uint16 `json:"id,omitempty"`

	QoS    *byte `json:"qos,omitempty"` // of PUBLISH
	Dup    bool  `json:"dup,omitempty"`
	Retain bool  `json:"retain,omitempty"`

	Topic string `json:"topic,omitempty"` // as it was sent: empty if an alias stands for it
	Alias uint16 `json:"alias,omitempty"`
	// AliasOf is the topic that an alias alone stands for, empty if the alias was
	// set before the trace began.
	AliasOf string `json:"aliasOf,omitempty"`

	Connect        *Connect   `json:"connect,omitempty"`
	SessionPresent bool       `json:"sessionPresent,omitempty"`
	Reasons        []Reason   `json:"reasons,omitempty"` // one for each filter in SUBACK and UNSUBACK
	Filters        []Filter   `json:"filters,omitempty"`
	Properties     []Property `json:"properties,omitempty"`
	Left           int        `json:"left,omitempty"` // reasons, filters and properties that are not listed
	Payload        *Payload   `json:"payload,omitempty"`

	Answers *Answer `json:"answers,omitempty"`
	// Behind is how many bytes the client has not taken that are before this
	// packet, which therefore waits.
	Behind int `json:"behind,omitempty"`
}

// Connect is what only CONNECT has.
type Connect struct {
	Protocol     string  `json:"protocol"` // 3.1, 3.1.1 or 5
	CleanStart   bool    `json:"cleanStart"`
	KeepAlive    uint16  `json:"keepAlive"` // seconds
	ClientID     string  `json:"clientId"`
	Username     *string `json:"username,omitempty"`
	PasswordSize *int    `json:"passwordSize,omitempty"` // bytes; the password itself is never shown
	Will         *Will   `json:"will,omitempty"`
}

// Will is the will in a CONNECT.
type Will struct {
	Topic      string     `json:"topic"`
	QoS        byte       `json:"qos"`
	Retain     bool       `json:"retain,omitempty"`
	Properties []Property `json:"properties,omitempty"`
	Payload    *Payload   `json:"payload"`
}

// Payload is that of a message: its size, and what of it was asked for.
type Payload struct {
	Size int    `json:"size"`
	Text string `json:"text,omitempty"` // if all that is shown is text
	Hex  string `json:"hex,omitempty"`  // else
	Cut  bool   `json:"cut,omitempty"`  // there is more than is shown
}

// Reason is a reason code with its name.
type Reason struct {
	Code byte   `json:"code"`
	Name string `json:"name"`
}

// Filter is a topic filter with its options.
type Filter struct {
	Filter            string `json:"filter"`
	QoS               *byte  `json:"qos,omitempty"`
	NoLocal           bool   `json:"noLocal,omitempty"`
	RetainAsPublished bool   `json:"retainAsPublished,omitempty"`
	RetainHandling    byte   `json:"retainHandling,omitempty"`
}

// Property is a property with the standard's name for it.
type Property struct {
	Name  string  `json:"name"`
	Key   *string `json:"key,omitempty"`    // of a user property
	Value string  `json:"value,omitempty"`  // a number or text
	Hex   string  `json:"hex,omitempty"`    // the value of one that is not text
	Size  *int    `json:"size,omitempty"`   // of one whose value is hidden, or that is not text
	Cut   bool    `json:"cut,omitempty"`    // Hex is not all
	Hide  bool    `json:"hidden,omitempty"` // the value is never shown
}

// Answer says which packet a packet answers.
type Answer struct {
	Type  string  `json:"type"`
	After float64 `json:"after"` // seconds
}

// Fault says what is wrong with a packet, or with bytes that are none.
type Fault struct {
	What   string `json:"what"`
	Offset *int   `json:"offset,omitempty"` // in the packet, of what is wrong, if that can be told
	Head   string `json:"head,omitempty"`   // the first bytes in hexadecimal, without secrets and hidden payload
}
