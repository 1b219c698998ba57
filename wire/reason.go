package wire

import "fmt"

// Reason is an MQTT 5 reason code (table 2-6). Codes from 0x80 are failures.
type Reason byte

// The reason codes. Three names share 0x00: [Success] covers "normal
// disconnection" and "granted QoS 0" too.
const (
	Success                     Reason = 0x00
	GrantedQoS0                 Reason = 0x00
	GrantedQoS1                 Reason = 0x01
	GrantedQoS2                 Reason = 0x02
	DisconnectWithWill          Reason = 0x04
	NoMatchingSubscribers       Reason = 0x10
	NoSubscriptionExisted       Reason = 0x11
	ContinueAuthentication      Reason = 0x18
	ReAuthenticate              Reason = 0x19
	UnspecifiedError            Reason = 0x80
	MalformedPacket             Reason = 0x81
	ProtocolError               Reason = 0x82
	ImplementationError         Reason = 0x83
	UnsupportedProtocolVersion  Reason = 0x84
	ClientIDNotValid            Reason = 0x85
	BadUserNameOrPassword       Reason = 0x86
	NotAuthorized               Reason = 0x87
	ServerUnavailable           Reason = 0x88
	ServerBusy                  Reason = 0x89
	Banned                      Reason = 0x8A
	ServerShuttingDown          Reason = 0x8B
	BadAuthMethod               Reason = 0x8C
	KeepAliveTimeout            Reason = 0x8D
	SessionTakenOver            Reason = 0x8E
	TopicFilterInvalid          Reason = 0x8F
	TopicNameInvalid            Reason = 0x90
	PacketIDInUse               Reason = 0x91
	PacketIDNotFound            Reason = 0x92
	ReceiveMaximumExceeded      Reason = 0x93
	TopicAliasInvalid           Reason = 0x94
	PacketTooLarge              Reason = 0x95
	MessageRateTooHigh          Reason = 0x96
	QuotaExceeded               Reason = 0x97
	AdministrativeAction        Reason = 0x98
	PayloadFormatInvalid        Reason = 0x99
	RetainNotSupported          Reason = 0x9A
	QoSNotSupported             Reason = 0x9B
	UseAnotherServer            Reason = 0x9C
	ServerMoved                 Reason = 0x9D
	SharedSubsNotSupported      Reason = 0x9E
	ConnectionRateExceeded      Reason = 0x9F
	MaximumConnectTime          Reason = 0xA0
	SubscriptionIDsNotSupported Reason = 0xA1
	WildcardSubsNotSupported    Reason = 0xA2
)

// Sets of packet types, one bit each; bit 0 stands for the will in CONNECT.
const (
	inWill        = 1 << 0
	inConnect     = 1 << CONNECT
	inConnack     = 1 << CONNACK
	inPublish     = 1 << PUBLISH
	inPuback      = 1 << PUBACK
	inPubrec      = 1 << PUBREC
	inPubrel      = 1 << PUBREL
	inPubcomp     = 1 << PUBCOMP
	inSubscribe   = 1 << SUBSCRIBE
	inSuback      = 1 << SUBACK
	inUnsubscribe = 1 << UNSUBSCRIBE
	inUnsuback    = 1 << UNSUBACK
	inDisconnect  = 1 << DISCONNECT
	inAuth        = 1 << AUTH

	inAcks = inPuback | inPubrec
)

// reasons is table 2-6: each code's name and the packets that may carry it.
var reasons = [256]struct {
	name string
	in   uint16
}{
	Success: {"success", inConnack | inAcks | inPubrel | inPubcomp |
		inSuback | inUnsuback | inAuth | inDisconnect},
	GrantedQoS1:            {"granted QoS 1", inSuback},
	GrantedQoS2:            {"granted QoS 2", inSuback},
	DisconnectWithWill:     {"disconnect with will message", inDisconnect},
	NoMatchingSubscribers:  {"no matching subscribers", inAcks},
	NoSubscriptionExisted:  {"no subscription existed", inUnsuback},
	ContinueAuthentication: {"continue authentication", inAuth},
	ReAuthenticate:         {"re-authenticate", inAuth},
	UnspecifiedError: {"unspecified error", inConnack | inAcks |
		inSuback | inUnsuback | inDisconnect},
	MalformedPacket: {"malformed packet", inConnack | inDisconnect},
	ProtocolError:   {"protocol error", inConnack | inDisconnect},
	ImplementationError: {"implementation specific error", inConnack | inAcks |
		inSuback | inUnsuback | inDisconnect},
	UnsupportedProtocolVersion: {"unsupported protocol version", inConnack},
	ClientIDNotValid:           {"client identifier not valid", inConnack},
	BadUserNameOrPassword:      {"bad user name or password", inConnack},
	NotAuthorized: {"not authorized", inConnack | inAcks |
		inSuback | inUnsuback | inDisconnect},
	ServerUnavailable:  {"server unavailable", inConnack},
	ServerBusy:         {"server busy", inConnack | inDisconnect},
	Banned:             {"banned", inConnack},
	ServerShuttingDown: {"server shutting down", inDisconnect},
	BadAuthMethod:      {"bad authentication method", inConnack | inDisconnect},
	KeepAliveTimeout:   {"keep alive timeout", inDisconnect},
	SessionTakenOver:   {"session taken over", inDisconnect},
	TopicFilterInvalid: {"topic filter invalid", inSuback | inUnsuback | inDisconnect},
	TopicNameInvalid:   {"topic name invalid", inConnack | inAcks | inDisconnect},
	PacketIDInUse: {"packet identifier in use", inAcks |
		inSuback | inUnsuback},
	PacketIDNotFound:       {"packet identifier not found", inPubrel | inPubcomp},
	ReceiveMaximumExceeded: {"receive maximum exceeded", inDisconnect},
	TopicAliasInvalid:      {"topic alias invalid", inDisconnect},
	PacketTooLarge:         {"packet too large", inConnack | inDisconnect},
	MessageRateTooHigh:     {"message rate too high", inDisconnect},
	QuotaExceeded: {"quota exceeded", inConnack | inAcks |
		inSuback | inDisconnect},
	AdministrativeAction:        {"administrative action", inDisconnect},
	PayloadFormatInvalid:        {"payload format invalid", inConnack | inAcks | inDisconnect},
	RetainNotSupported:          {"retain not supported", inConnack | inDisconnect},
	QoSNotSupported:             {"QoS not supported", inConnack | inDisconnect},
	UseAnotherServer:            {"use another server", inConnack | inDisconnect},
	ServerMoved:                 {"server moved", inConnack | inDisconnect},
	SharedSubsNotSupported:      {"shared subscriptions not supported", inSuback | inDisconnect},
	ConnectionRateExceeded:      {"connection rate exceeded", inConnack | inDisconnect},
	MaximumConnectTime:          {"maximum connect time", inDisconnect},
	SubscriptionIDsNotSupported: {"subscription identifiers not supported", inSuback | inDisconnect},
	WildcardSubsNotSupported:    {"wildcard subscriptions not supported", inSuback | inDisconnect},
}

// String returns the standard's name of the code in lower case; codes that
// the standard does not define as "reason 0x7f".
func (r Reason) String() string {
	if s := reasons[r].name; s != "" {
		return s
	}
	return fmt.Sprintf("reason 0x%02x", byte(r))
}

// allowedIn reports whether a packet of type t may carry r.
func (r Reason) allowedIn(t Type) bool { return reasons[r].in>>t&1 != 0 }

// ConnackCode returns r as CONNACK carries it: itself in version 5, a return
// code 0 to 5 before. Codes without a counterpart become 3 (server
// unavailable) if trying again later may help, else 5 (not authorized).
func (r Reason) ConnackCode(v Version) byte {
	if v == V5 {
		return byte(r)
	}
	switch r {
	case Success:
		return 0
	case UnsupportedProtocolVersion:
		return 1
	case ClientIDNotValid:
		return 2
	case BadUserNameOrPassword, BadAuthMethod:
		return 4
	case UnspecifiedError, ImplementationError, ServerUnavailable, ServerBusy, ServerShuttingDown,
		MessageRateTooHigh, QuotaExceeded, UseAnotherServer, ServerMoved, ConnectionRateExceeded:
		return 3
	}
	return 5
}

// connackReasons turns the return codes of 3.x into reason codes.
var connackReasons = [...]Reason{
	Success, UnsupportedProtocolVersion, ClientIDNotValid,
	ServerUnavailable, BadUserNameOrPassword, NotAuthorized,
}
