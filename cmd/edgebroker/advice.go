package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/wire"
)

// refusals says of each reason for which a socket is refused what happened and what
// to do. docs/REFERENCE.md lists the reasons.
var refusals = map[string]string{
	"max_connections":             "there are as many connections as limits.max_connections, or the listener's own bound, allows: raise it",
	"max_connections_per_address": "there are as many connections from its address as limits allow: raise limits.max_connections_per_address, or see why it comes so often",
	"connect_rate":                "its address comes too often: have it wait longer before it tries again, or raise limits.connect_rate",
	"max_unauthenticated":         "too many others have not finished CONNECT: see who they are, or raise limits.max_unauthenticated",
	"unauthenticated_memory":      "those who have not finished CONNECT hold too much memory: see who they are",
	"memory_pressure":             "memory is short: `edgebroker stats` says of what",
	"shutting_down":               "the broker stops: it may come again",
	"slow_connect":                "no complete CONNECT in time: a slow line, or a client that does not speak MQTT",
	"connect_too_large":           "its CONNECT is too long: see its will and user properties, or raise limits.max_connect_size",
	"not_mqtt":                    "TLS, HTTP or something else came to a port for plain MQTT: without TLS, or another port",
	"not_websocket":               "no WebSocket handshake for MQTT came: the address is ws://HOST:PORT/mqtt, other clients need another port",
	"origin":                      "a web page of another host: name that in allowed_origins of the listener",
	"not_tls":                     "plain MQTT, HTTP or something else came to a port for TLS: use mqtts:// and the authority's certificate, or another port",
	"tls_handshake":               "the client gave up: mostly it does not trust the broker's certificate, so give it the authority's; or its clock is wrong; or it showed no certificate",
	"client_certificate":          "its certificate is revoked, of another authority, or not valid now: compare the clocks, or make it another",
	"proxy_header":                "a proxy did not say for whom it comes: see proxy_protocol of the listener",
	"unsupported_version":         "it speaks a version of MQTT that nobody here does: 3.1, 3.1.1 and 5 there are",
	"version_not_allowed":         "mqtt_versions of the listener leaves its version of MQTT out",
	"client_id_not_valid":         "its client identifier is empty where there must be one, or no text",
	"malformed_connect":           "its CONNECT breaks the rules of MQTT: see it with `edgebroker trace`",
}

// refusalText says in one line what was refused and why, and what to do.
func refusalText(d events.RefusalData) string {
	who, from := d.ClientID, ""
	switch {
	case who == "":
		who = orDash(d.Remote)
	case d.Remote != "":
		from = " from " + d.Remote
	}
	text := who + from + " " + d.What
	if d.Topic != "" {
		text += " " + d.Topic
	}
	text += ": " + d.Reason
	if advice := refusalAdvice(d); advice != "" {
		text += " (" + advice + ")"
	}
	return text
}

// refusalAdvice is what to do about it, "" if there is no more to say.
func refusalAdvice(d events.RefusalData) string {
	switch {
	case d.What == "login":
		return "the page has users of its own, in the file that http.users names"
	case d.Reason == wire.BadUserNameOrPassword.String():
		return "no such user, or another password: `edgebroker users list`, `edgebroker users passwd`"
	case d.Reason != wire.NotAuthorized.String():
		return refusals[d.Reason]
	case d.What == "connect":
		return "it does not say who it is, or its session is another user's"
	case d.What == "publish" || d.What == "subscribe":
		return "no rule allows it: `edgebroker acl test` says which decides"
	}
	return ""
}

// refusedHint says to whom a broker has refused to be connected what to do.
func refusedHint(code byte) string {
	switch wire.Reason(code) {
	case wire.BadUserNameOrPassword:
		return "--user and --password-file say who you are; on the broker's machine `edgebroker users list` names the users, and `edgebroker users passwd NAME` gives one another password"
	case wire.NotAuthorized:
		return "say who you are with --user NAME and --password-file FILE, or with --cert and --key; `edgebroker device add` makes what is needed"
	}
	return "`edgebroker events --since 10m --type refusal` on the broker's machine says why"
}

// ruleHint says to whom an action on a topic was refused what to do; "" if rules
// have not refused it.
func ruleHint(code byte, action, topic string) string {
	if wire.Reason(code) != wire.NotAuthorized {
		return ""
	}
	return fmt.Sprintf("on the broker's machine `edgebroker acl test --user NAME --topic %s --action %s` says which rule decides", quoted(topic), action)
}

// quoted is a topic as a shell takes it.
func quoted(topic string) string {
	for _, r := range topic {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '/', r == '-', r == '_', r == '.':
		default:
			return "'" + strings.ReplaceAll(topic, "'", `'\''`) + "'"
		}
	}
	return topic
}

// certificateHint says what to do about a broker's certificate that is not accepted.
func certificateHint(err error, now time.Time) string {
	invalid, host, unknown := x509.CertificateInvalidError{}, x509.HostnameError{}, x509.UnknownAuthorityError{}
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		if c != nil && now.Before(c.NotBefore) {
			return fmt.Sprintf("by this machine's clock it is %s, and the certificate is valid from %s on: set the clock of whichever is wrong",
				now.UTC().Format(time.DateOnly), c.NotBefore.UTC().Format(time.DateOnly))
		}
		return fmt.Sprintf("by this machine's clock it is %s: set it if that is wrong, else renew the broker's certificate; `edgebroker doctor` on its machine says how",
			now.UTC().Format(time.DateOnly))
	case errors.As(err, &host):
		return "name a host that the broker's certificate names with --address, or make it a certificate that names this one"
	case errors.As(err, &unknown):
		return "name the certificate of the broker's authority with --cafile"
	}
	return "name the certificate of the broker's authority with --cafile, and a host that the broker's certificate names with --address"
}

// untrusted reports whether a broker's certificate was not accepted.
func untrusted(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError))
}
