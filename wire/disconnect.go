package wire

// Disconnect is a decoded DISCONNECT. It owns its memory. 3.x has none of it.
type Disconnect struct {
	Reason          Reason
	HasExpiry       bool
	SessionExpiry   uint32 // seconds, if HasExpiry
	ReasonString    string
	ServerReference string // from servers only
	User            []UserProperty
}

// DecodeDisconnect decodes a DISCONNECT of either side. The caller checks
// that SessionExpiry does not revive a session whose CONNECT said 0.
func DecodeDisconnect(f Frame, v Version) (Disconnect, error) {
	var d Disconnect
	if f.Type != DISCONNECT {
		return d, wrongType(DISCONNECT, f)
	}
	if v < V5 {
		return d, DecodeEmpty(f)
	}
	r := reader{b: f.Body}
	if len(r.b) == 0 { // normal disconnection
		return d, nil
	}
	d.Reason = Reason(r.u8("reason code"))
	if !d.Reason.allowedIn(DISCONNECT) {
		return d, protocolError("[MQTT-3.14.2-1]", d.Reason.String()+" in DISCONNECT")
	}
	if len(r.b) == 0 { // the property length may be left out below 2 bytes
		return d, nil
	}
	s := r.props(inDisconnect)
	var p property
	for r.next(&s, &p) {
		switch p.id {
		case propSessionExpiry:
			d.HasExpiry, d.SessionExpiry = true, p.num
		case propReasonString:
			d.ReasonString = string(p.value)
		case propServerReference:
			d.ServerReference = string(p.value)
		case propUser:
			d.User = append(d.User, s.user(&p))
		}
	}
	if e := r.end(); e != nil {
		return d, e
	}
	return d, nil
}

// DecodeServerDisconnect decodes a DISCONNECT that a server sent, which must
// not hold a session expiry interval. [MQTT-3.14.2-2]
func DecodeServerDisconnect(f Frame, v Version) (Disconnect, error) {
	d, err := DecodeDisconnect(f, v)
	if err == nil && d.HasExpiry {
		return d, protocolError("[MQTT-3.14.2-2]", "session expiry interval from a server")
	}
	return d, err
}

// AppendDisconnect appends DISCONNECT in its shortest form. 3.x carries
// neither reason nor text, and only clients send it there.
func AppendDisconnect(dst []byte, v Version, r Reason, reasonString string) []byte {
	if v < V5 {
		return append(dst, byte(DISCONNECT)<<4, 0)
	}
	return AppendDisconnectFields(dst, &Disconnect{Reason: r, ReasonString: reasonString})
}

// AppendDisconnectFields appends a version 5 DISCONNECT with all fields of d.
func AppendDisconnectFields(dst []byte, d *Disconnect) []byte {
	var props []byte
	if d.HasExpiry {
		props = appendU32Prop(props, propSessionExpiry, d.SessionExpiry)
	}
	props = appendTextPropSome(props, propReasonString, d.ReasonString)
	props = appendTextPropSome(props, propServerReference, d.ServerReference)
	props = appendUserProps(props, d.User)
	switch {
	case len(props) > 0:
		return appendFrame(dst, DISCONNECT, 0, []byte{byte(d.Reason)}, withLength(props))
	case d.Reason == Success:
		return append(dst, byte(DISCONNECT)<<4, 0)
	}
	return append(dst, byte(DISCONNECT)<<4, 1, byte(d.Reason))
}

// DecodeEmpty checks a packet that has nothing but its fixed header: PINGREQ,
// PINGRESP, and DISCONNECT of 3.x.
func DecodeEmpty(f Frame) error {
	if len(f.Body) > 0 {
		return malformed("", f.Type.String()+" with a body")
	}
	return nil
}

// AppendPing appends PINGREQ or PINGRESP.
func AppendPing(dst []byte, t Type) []byte { return append(dst, byte(t)<<4, 0) }
