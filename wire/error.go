package wire

import "errors"

// Error is what a packet did wrong. All errors of this package are of type
// *Error. It holds no bytes of the packet, so it is safe to log.
type Error struct {
	Reason Reason // what to answer with, where the protocol has an answer
	Rule   string // the broken rule, "[MQTT-3.3.2-2]", or "" if it has no number; of 3.1.1 "[MQTT3-3.1.2-22]"
	Detail string // what is wrong, lower case
}

// Error reads like "malformed packet: topic name holds U+0000 [MQTT-1.5.4-2]".
func (e *Error) Error() string {
	s := e.Reason.String() + ": " + e.Detail
	if e.Rule != "" {
		s += " " + e.Rule
	}
	return s
}

// ReasonOf returns the reason code to answer err with: that of the *Error in
// its chain, Success for nil, UnspecifiedError for any other error.
func ReasonOf(err error) Reason {
	if err == nil {
		return Success
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return UnspecifiedError
}

func malformed(rule, detail string) *Error {
	return &Error{Reason: MalformedPacket, Rule: rule, Detail: detail}
}

func protocolError(rule, detail string) *Error {
	return &Error{Reason: ProtocolError, Rule: rule, Detail: detail}
}

// wrongType tells that a decoder was handed another packet type's frame.
func wrongType(want Type, f Frame) *Error {
	return protocolError("", "expected "+want.String()+", got "+f.Type.String())
}
