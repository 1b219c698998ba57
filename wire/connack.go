package wire

// Connack is the server's answer to CONNECT. All but SessionPresent and
// Reason exists in version 5 only.
type Connack struct {
	SessionPresent      bool   // ignored unless Reason is Success [MQTT-3.2.2-6]
	Reason              Reason // 3.x: mapped by Reason.ConnackCode
	HasSessionExpiry    bool
	SessionExpiry       uint32 // seconds
	ReceiveMaximum      uint16 // 0 if absent, which means 65535
	HasMaximumQoS       bool
	MaximumQoS          byte // 0 or 1
	RetainUnavailable   bool
	MaximumPacketSize   uint32 // bytes, 0 if absent
	AssignedClientID    string
	TopicAliasMaximum   uint16
	ReasonString        string
	User                []UserProperty
	WildcardUnavailable bool
	SubIDsUnavailable   bool
	SharedUnavailable   bool
	HasServerKeepAlive  bool
	ServerKeepAlive     uint16 // seconds
	ResponseInfo        string
	ServerReference     string
	AuthMethod          string
	AuthData            []byte // nil if absent
}

// AppendConnack appends c in the form of version v. Zero fields are left out.
func AppendConnack(dst []byte, v Version, c *Connack) []byte {
	var present byte
	if c.SessionPresent && c.Reason == Success && v != V31 { // 3.1 has no such flag
		present = 1
	}
	head := [2]byte{present, c.Reason.ConnackCode(v)}
	if v < V5 {
		return appendFrame(dst, CONNACK, 0, head[:])
	}
	return appendFrame(dst, CONNACK, 0, head[:], withLength(appendConnackProps(nil, c)))
}

func appendConnackProps(dst []byte, c *Connack) []byte {
	if c.HasSessionExpiry {
		dst = appendU32Prop(dst, propSessionExpiry, c.SessionExpiry)
	}
	if c.ReceiveMaximum != 0 {
		dst = appendU16Prop(dst, propReceiveMaximum, c.ReceiveMaximum)
	}
	if c.HasMaximumQoS {
		dst = appendBoolProp(dst, propMaximumQoS, c.MaximumQoS == 1)
	}
	if c.RetainUnavailable {
		dst = appendBoolProp(dst, propRetainAvailable, false)
	}
	if c.MaximumPacketSize != 0 {
		dst = appendU32Prop(dst, propMaximumPacketSize, c.MaximumPacketSize)
	}
	dst = appendTextPropSome(dst, propAssignedClientID, c.AssignedClientID)
	if c.TopicAliasMaximum != 0 {
		dst = appendU16Prop(dst, propTopicAliasMaximum, c.TopicAliasMaximum)
	}
	dst = appendTextPropSome(dst, propReasonString, c.ReasonString)
	if c.WildcardUnavailable {
		dst = appendBoolProp(dst, propWildcardAvailable, false)
	}
	if c.SubIDsUnavailable {
		dst = appendBoolProp(dst, propSubIDAvailable, false)
	}
	if c.SharedUnavailable {
		dst = appendBoolProp(dst, propSharedAvailable, false)
	}
	if c.HasServerKeepAlive {
		dst = appendU16Prop(dst, propServerKeepAlive, c.ServerKeepAlive)
	}
	dst = appendTextPropSome(dst, propResponseInfo, c.ResponseInfo)
	dst = appendTextPropSome(dst, propServerReference, c.ServerReference)
	dst = appendTextPropSome(dst, propAuthMethod, c.AuthMethod)
	if c.AuthData != nil {
		dst = appendBinary(append(dst, propAuthData), c.AuthData)
	}
	return appendUserProps(dst, c.User)
}

// DecodeConnack decodes CONNACK. The return codes of 3.x come back as the
// reason codes of the same meaning. The result owns its memory.
func DecodeConnack(f Frame, v Version) (Connack, error) {
	var c Connack
	if f.Type != CONNACK {
		return c, wrongType(CONNACK, f)
	}
	r := reader{b: f.Body}
	flags := r.u8("connect acknowledge flags")
	code := r.u8("reason code")
	if r.err == nil {
		if e := connackHead(&c, v, flags, code); e != nil {
			r.fail(e)
		}
	}
	if v == V5 && r.err == nil {
		connackProps(&r, &c)
	}
	if e := r.end(); e != nil {
		return c, e
	}
	return c, nil
}

func connackHead(c *Connack, v Version, flags, code byte) *Error {
	if v != V31 { // unused in 3.1
		if flags > 1 {
			return malformed("[MQTT-3.2.2-1]", "reserved connect acknowledge flags")
		}
		c.SessionPresent = flags == 1
	}
	c.Reason = Reason(code)
	if v < V5 {
		if int(code) >= len(connackReasons) {
			return malformed("", "return code that CONNACK does not have")
		}
		c.Reason = connackReasons[code]
	} else if !c.Reason.allowedIn(CONNACK) {
		return protocolError("[MQTT-3.2.2-8]", c.Reason.String()+" in CONNACK")
	}
	if c.SessionPresent && c.Reason != Success {
		return protocolError("[MQTT-3.2.2-6]", "session present with a refusal")
	}
	return nil
}

func connackProps(r *reader, c *Connack) {
	s := r.props(inConnack)
	var p property
	for r.next(&s, &p) {
		switch p.id {
		case propSessionExpiry:
			c.HasSessionExpiry, c.SessionExpiry = true, p.num
		case propReceiveMaximum:
			c.ReceiveMaximum = uint16(p.num)
		case propMaximumQoS:
			c.HasMaximumQoS, c.MaximumQoS = true, byte(p.num)
		case propRetainAvailable:
			c.RetainUnavailable = p.num == 0
		case propMaximumPacketSize:
			c.MaximumPacketSize = p.num
		case propAssignedClientID:
			c.AssignedClientID = string(p.value)
		case propTopicAliasMaximum:
			c.TopicAliasMaximum = uint16(p.num)
		case propReasonString:
			c.ReasonString = string(p.value)
		case propUser:
			c.User = append(c.User, s.user(&p))
		case propWildcardAvailable:
			c.WildcardUnavailable = p.num == 0
		case propSubIDAvailable:
			c.SubIDsUnavailable = p.num == 0
		case propSharedAvailable:
			c.SharedUnavailable = p.num == 0
		case propServerKeepAlive:
			c.HasServerKeepAlive, c.ServerKeepAlive = true, uint16(p.num)
		case propResponseInfo:
			c.ResponseInfo = string(p.value)
		case propServerReference:
			c.ServerReference = string(p.value)
		case propAuthMethod:
			c.AuthMethod = string(p.value)
		case propAuthData:
			c.AuthData = append([]byte{}, p.value...)
		}
	}
}
