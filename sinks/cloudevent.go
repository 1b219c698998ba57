package sinks

import (
	"encoding/json"
	"net/url"
	"unicode"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/events"
)

// CloudEventPrefix stands before the type of an event in a CloudEvent.
const CloudEventPrefix = "edgebroker."

// cloudEvent is an event in the JSON format of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Subject     string `json:"subject,omitempty"` // the client
	Time        string `json:"time"`
	ContentType string `json:"datacontenttype"`
	Data        any    `json:"data"`
}

// CloudEventSource is the source, an URI reference, for events of a broker of
// that name.
func CloudEventSource(node string) string { return "/edgebroker/" + url.PathEscape(node) }

// encodeCloudEvent makes one line of e.
func encodeCloudEvent(e events.Event, source string) ([]byte, error) {
	c := cloudEvent{SpecVersion: "1.0", ID: e.ID, Source: source, Type: CloudEventPrefix + string(e.Type),
		Time: e.Time.UTC().Format(events.TimeLayout), ContentType: "application/json", Data: e.Data}
	if client := e.About(); cloudString(client) {
		c.Subject = client
	}
	return json.Marshal(c)
}

// cloudString reports whether s may be an attribute: some characters that MQTT
// has in client identifiers may not. The data names the client in any case.
func cloudString(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF {
			return false
		}
	}
	return true
}
