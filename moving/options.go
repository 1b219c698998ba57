package moving

import "strings"

// option is what a setting of mosquitto's is for. Just one of its functions, or
// note, is set; for listener and connection, which begin something, none.
type option struct {
	verdict Verdict
	note    string // for settings that come to the same, whatever their value

	global   func(*conversion, *setting)
	security func(*conversion, *security, *setting)
	listener func(*conversion, *listener, *setting)
	uplink   func(*conversion, *uplink, *setting)
}

func needless(note string) option   { return option{verdict: NotNeeded, note: note} }
func impossible(note string) option { return option{verdict: Impossible, note: note} }

// options are all settings that mosquitto 1.4 to 2.1 has.
func options() map[string]option {
	all := map[string]option{
		"listener": {}, "connection": {},

		"include_dir":                needless("what it includes stands in the same config now"),
		"per_listener_settings":      {global: (*conversion).perListener},
		"clientid_prefixes":          {global: (*conversion).clientPrefix},
		"allow_duplicate_messages":   needless("each message comes once, also where subscriptions overlap, unless an MQTT 5 client tells them apart"),
		"check_retain_source":        {global: trueIsImpossible("retained messages stay when their publisher loses the right to publish them; edgebroker retained clear removes them", "it is never looked at")},
		"autosave_interval":          needless("what is acknowledged is on the disk already; see storage.durability"),
		"autosave_on_changes":        needless("what is acknowledged is on the disk already; see storage.durability"),
		"connection_messages":        needless("edgebroker events tells who comes and goes, whatever is logged"),
		"enable_control_api":         needless("there are no $CONTROL topics; edgebroker has commands, and docs/API.md"),
		"set_tcp_nodelay":            needless("it is always so"),
		"pid_file":                   needless("systemd knows it without"),
		"user":                       needless("the systemd unit says as whom edgebroker runs; it needs to read its files"),
		"retry_interval":             needless("mosquitto has not had it since 1.5 either"),
		"max_inflight_bytes":         {global: unless("0", "only messages on their way are counted; see limits.max_inflight")},
		"max_keepalive":              {global: unless("65535", "the keep alive is the client's own")},
		"queue_qos0_messages":        {global: trueIsImpossible("QoS 0 is not kept for clients that are away; publish and subscribe at QoS 1", "QoS 0 is not kept")},
		"upgrade_outgoing_qos":       {global: trueIsImpossible("a message keeps the QoS that it was published with; publish at the one that is needed", "QoS is never raised")},
		"retain_available":           {global: falseIsImpossible("retained messages cannot be switched off; rules and retained.max_messages bound them", "there are retained messages")},
		"persistence":                {global: (*conversion).persists},
		"retained_persistence":       {global: (*conversion).persists},
		"persistence_file":           needless("the store has files of its own; what mosquitto has stored is not moved"),
		"persistence_location":       {global: (*conversion).persistenceLocation},
		"packet_buffer_size":         needless("buffers are as large as what is in them"),
		"websockets_log_level":       needless("log.level is for everything"),
		"websockets_headers_size":    needless("headers have 4 KiB and more"),
		"log_facility":               needless("the log goes to standard error, and so to systemd's journal"),
		"log_timestamp":              needless("each line of the log has the time, unless it goes to the journal, which knows it"),
		"log_timestamp_format":       needless("times are as RFC 3339 has them"),
		"allow_zero_length_clientid": {security: (*conversion).emptyClientID},
		"auto_id_prefix":             needless("identifiers that edgebroker gives are its own; rules should not go by them"),

		"acl_file":                       {security: (*conversion).aclFile},
		"password_file":                  {security: (*conversion).passwordFile},
		"psk_file":                       {security: (*conversion).pskFile},
		"allow_anonymous":                {security: (*conversion).allowAnonymous},
		"listener_allow_anonymous":       {listener: (*conversion).listenerAnonymous},
		"listener_auto_id_prefix":        needless("identifiers that edgebroker gives are its own; rules should not go by them"),
		"auth_plugin":                    {security: (*conversion).addPlugin},
		"plugin":                         {security: (*conversion).addPlugin},
		"global_plugin":                  {global: func(c *conversion, s *setting) { c.addPlugin(&c.global, s) }},
		"auth_plugin_deny_special_chars": needless("names with + # or / never widen a rule"),
	}
	for _, more := range []map[string]option{boundOptions(), listenerOptions(), uplinkOptions()} {
		for name, o := range more {
			all[name] = o
		}
	}
	return all
}

// prefixed are settings whose names go on as a plugin likes.
func prefixed(name string) (option, bool) {
	if strings.HasPrefix(name, "auth_opt_") || strings.HasPrefix(name, "plugin_opt_") {
		return option{global: (*conversion).pluginOption}, true
	}
	return option{}, false
}

// truth reads a truth value; ok is false, and the line lost, for none.
func truth(s *setting) (v, ok bool) {
	switch s.Word() {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	s.lost("is neither true nor false; mosquitto does not start with it")
	return false, false
}

func trueIsImpossible(note, otherwise string) func(*conversion, *setting) {
	return func(_ *conversion, s *setting) {
		if v, ok := truth(s); ok && v {
			s.says(Impossible, "", note)
		} else if ok {
			s.says(NotNeeded, "", otherwise)
		}
	}
}

// unless is for what is impossible but for one value, which changes nothing.
func unless(value, note string) func(*conversion, *setting) {
	return func(_ *conversion, s *setting) {
		s.says(Impossible, "", note)
		if s.Word() == value {
			s.says(NotNeeded, "", value+" is no limit")
		}
	}
}

func falseIsImpossible(note, otherwise string) func(*conversion, *setting) {
	return func(_ *conversion, s *setting) {
		if v, ok := truth(s); ok && !v {
			s.says(Impossible, "", note)
		} else if ok {
			s.says(NotNeeded, "", otherwise)
		}
	}
}

func (c *conversion) perListener(s *setting) {
	v, ok := truth(s)
	if !ok {
		return
	}
	if v && c.global.set() {
		s.lost("stands after settings that it is about; mosquitto does not start with it")
		return
	}
	c.perEach = c.perEach || v
	s.says(Converted, RulesName, "")
	if v {
		s.entry.Note = "rules name the listener that they are for; all listeners share one file of users"
	}
}

func (c *conversion) clientPrefix(s *setting) {
	c.prefix = s.Value
	s.says(Changed, RulesName, "other clients may connect, but all that is allowed is for identifiers that begin so")
}

func (c *conversion) emptyClientID(_ *security, s *setting) {
	if v, ok := truth(s); ok && !v {
		s.says(Impossible, "", "clients without an identifier are given one, as MQTT wants it; rules decide what they may do")
	} else if ok {
		s.says(NotNeeded, "", "it is always so")
	}
}
