package wire

// Auth is a decoded AUTH, one step of an extended authentication. It owns its
// memory.
type Auth struct {
	Reason Reason // Success, ContinueAuthentication or ReAuthenticate
	Method string
	Data   []byte // nil if absent; never log it
}

// DecodeAuth decodes AUTH, which only version 5 has. Which side may use which
// reason is the caller's to check. Reason string and user properties are
// checked and dropped.
func DecodeAuth(f Frame) (Auth, error) {
	var a Auth
	if f.Type != AUTH {
		return a, wrongType(AUTH, f)
	}
	r := reader{b: f.Body}
	hasMethod := false
	if len(r.b) > 0 {
		a.Reason = Reason(r.u8("reason code"))
		if !a.Reason.allowedIn(AUTH) {
			return a, protocolError("[MQTT-3.15.2-1]", a.Reason.String()+" in AUTH")
		}
		if len(r.b) > 0 {
			hasMethod = authProps(&r, &a)
		}
	}
	if e := r.end(); e != nil {
		return a, e
	}
	if !hasMethod {
		return a, protocolError("", "AUTH without an authentication method")
	}
	return a, nil
}

func authProps(r *reader, a *Auth) (hasMethod bool) {
	s := r.props(inAuth)
	var p property
	for r.next(&s, &p) {
		switch p.id {
		case propAuthMethod:
			a.Method, hasMethod = string(p.value), true
		case propAuthData:
			a.Data = append([]byte{}, p.value...)
		}
	}
	return hasMethod
}

// AppendAuth appends a.
func AppendAuth(dst []byte, a *Auth) []byte {
	props := appendTextProp(nil, propAuthMethod, a.Method)
	if a.Data != nil {
		props = appendBinary(append(props, propAuthData), a.Data)
	}
	return appendFrame(dst, AUTH, 0, []byte{byte(a.Reason)}, withLength(props))
}
