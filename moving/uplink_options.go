package moving

import (
	"cmp"
	"fmt"
	"math"
)

func uplinkOptions() map[string]option {
	const psk = "there are no pre-shared keys; have the far side take certificates, or passwords over TLS"
	all := map[string]option{
		"address":                 {uplink: keepLine(func(u *uplink) **setting { return &u.addresses })},
		"bridge_cafile":           {uplink: keepLine(func(u *uplink) **setting { return &u.ca })},
		"bridge_capath":           {uplink: keepLine(func(u *uplink) **setting { return &u.capath })},
		"bridge_certfile":         {uplink: keepLine(func(u *uplink) **setting { return &u.cert })},
		"bridge_keyfile":          {uplink: keepLine(func(u *uplink) **setting { return &u.key })},
		"bridge_protocol_version": {uplink: keepLine(func(u *uplink) **setting { return &u.version })},
		"remote_clientid":         {uplink: keepLine(func(u *uplink) **setting { return &u.clientID })},
		"remote_username":         {uplink: keepLine(func(u *uplink) **setting { return &u.username })},
		"remote_password":         {uplink: keepLine(func(u *uplink) **setting { return &u.password })},
		"topic":                   {uplink: func(_ *conversion, u *uplink, s *setting) { u.topics = append(u.topics, s) }},
		"bridge_identity":         {uplink: omits(psk)},
		"bridge_psk":              {uplink: omits(psk)},
		"bridge_require_ocsp":     {uplink: (*conversion).ocsp},
		"bridge_insecure":         {uplink: (*conversion).insecure},
		"bridge_outgoing_retain":  {uplink: (*conversion).outgoingRetain},
		"bridge_tls_version":      {uplink: (*conversion).bridgeTLSVersion},
		"bridge_ciphers":          {verdict: Changed, note: "the ciphers are fixed: in TLS 1.2 those with ECDHE and AES-GCM or ChaCha20-Poly1305"},
		"bridge_ciphers_tls1.3":   {verdict: Changed, note: "those of TLS 1.3 are fixed"},
		"bridge_alpn":             impossible("uplinks name no protocol in TLS; use a port of the far side that needs none"),
		"bridge_bind_address":     impossible("the system chooses the address that uplinks come from; a route does, too"),
		"bridge_max_packet_size": {uplink: func(c *conversion, _ *uplink, s *setting) {
			unless("0", "what is too large for the far side becomes a dead letter there; see edgebroker bridges dead-letters")(c, s)
		}},
		"bridge_attempt_unsubscribe":     needless("what is not in topics any more is unsubscribed"),
		"bridge_max_topic_alias":         needless("uplinks need no aliases"),
		"bridge_receive_maximum":         needless("the far side is told what this one takes"),
		"bridge_reload_type":             needless("edgebroker reload changes an uplink at once, and loses nothing"),
		"bridge_session_expiry_interval": {uplink: (*conversion).sessionExpiry},
		"bridge_tcp_keepalive":           needless("keep_alive finds a dead line"),
		"bridge_tcp_user_timeout":        needless("ack_timeout and keep_alive find a dead line"),
		"cleansession":                   {uplink: (*conversion).cleanSession},
		"local_cleansession":             {uplink: (*conversion).localCleanSession},
		"keepalive_interval":             {uplink: (*conversion).bridgeKeepAlive},
		"restart_timeout":                {uplink: (*conversion).restartTimeout},
		"start_type":                     {uplink: (*conversion).startType},
		"idle_timeout":                   needless("uplinks stay connected"),
		"threshold":                      needless("uplinks stay connected"),
		"round_robin":                    needless("an uplink has one address; a name that leads to several is tried at each"),
		"try_private":                    needless("a property names the brokers that a message has passed (loop_guard)"),
		"notifications":                  {uplink: (*conversion).notifications},
		"notifications_local_only":       needless("uplinks are told of here alone, on $SYS/broker/connection/CLIENT_ID/state"),
		"notification_topic":             impossible("uplinks are told of on $SYS/broker/connection/CLIENT_ID/state; edgebroker events --type bridge tells it, too"),
		"local_clientid":                 needless("an uplink is no client here"),
		"local_username":                 needless("rules are not for uplinks, as ACLs are not for mosquitto's bridges"),
		"local_password":                 needless("rules are not for uplinks, as ACLs are not for mosquitto's bridges"),
	}
	for old, name := range map[string]string{"addresses": "address", "clientid": "remote_clientid", "username": "remote_username", "password": "remote_password"} {
		all[old] = all[name]
	}
	return all
}

func keepLine(field func(*uplink) **setting) func(*conversion, *uplink, *setting) {
	return func(_ *conversion, u *uplink, s *setting) {
		if f := field(u); *f != nil {
			u.omit(s, "is there twice; mosquitto does not start with it")
		} else {
			*f = s
		}
	}
}

// omit has the uplink left out because of what a line says.
func (u *uplink) omit(s *setting, why string) {
	s.lost(why)
	u.why = cmp.Or(u.why, fmt.Sprintf("line %d: %s", s.Number, why))
}

func omits(why string) func(*conversion, *uplink, *setting) {
	return func(_ *conversion, u *uplink, s *setting) { u.omit(s, why) }
}

func (c *conversion) newUplink(s *setting) *uplink {
	u := &uplink{line: s, retain: true}
	c.uplinks = append(c.uplinks, u)
	return u
}

func (c *conversion) ocsp(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		u.omit(s, "nobody is asked here whether the far side's certificate is revoked (OCSP); take the line out if you can do without")
	} else if ok {
		s.says(NotNeeded, "", "it is never asked")
	}
}

func (c *conversion) insecure(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "bridges", "the certificate of the far side must name the host in address")
	} else if ok {
		s.says(NotNeeded, "", "it is always so")
	}
}

func (c *conversion) outgoingRetain(u *uplink, s *setting) {
	if v, ok := truth(s); ok {
		u.retain = v
		s.says(Converted, "bridges", "")
	}
}

func (c *conversion) bridgeTLSVersion(u *uplink, s *setting) {
	switch s.Value {
	case "tlsv1.2":
		s.says(Converted, "", "TLS 1.2 and 1.3 are spoken")
	case "tlsv1.3":
		s.says(Changed, "", "1.2 is spoken as well, if the far side knows nothing newer")
	default:
		s.says(Changed, "", "TLS 1.2 is the oldest")
	}
}

func (c *conversion) sessionExpiry(u *uplink, s *setting) {
	if n, ok := number(s, 0, math.MaxUint32); ok {
		s.says(Converted, "bridges", "")
		if n == 0 {
			s.says(Changed, "bridges", "1s is the least")
		}
	}
}

func (c *conversion) cleanSession(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "bridges", "what waits here is kept; the far side is told to forget after a second")
	} else if ok {
		s.says(Converted, "bridges", "")
	}
}

func (c *conversion) localCleanSession(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "", "what waits here is kept; ttl in topics gives up old messages")
	} else if ok {
		s.says(NotNeeded, "", "it is always so")
	}
}

func (c *conversion) bridgeKeepAlive(u *uplink, s *setting) {
	if _, ok := number(s, math.MinInt32, math.MaxUint16); ok {
		s.says(Converted, "bridges", "")
	}
}

func (c *conversion) restartTimeout(u *uplink, s *setting) {
	s.says(Changed, "bridges", "pauses double up to the longest, and are shortened at random")
}

func (c *conversion) startType(u *uplink, s *setting) {
	switch s.Word() {
	case "automatic":
		s.says(Converted, "", "")
	case "lazy", "once":
		s.says(Changed, "", "an uplink is always connected, and connects again; edgebroker bridges pause ends that")
	default:
		s.says(Impossible, "", "is unknown; mosquitto does not start with it")
	}
}

func (c *conversion) notifications(u *uplink, s *setting) {
	if v, ok := truth(s); ok && v {
		s.says(Changed, "", "uplinks are told of here alone, on $SYS/broker/connection/CLIENT_ID/state")
	} else if ok {
		s.says(Impossible, "", "uplinks are told of on $SYS/broker/connection/CLIENT_ID/state; rules say who may read it")
	}
}
