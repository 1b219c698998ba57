package bridge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/rs/xid"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/relay"
)

// headerAdded names what eventBody has added to a payload: the first byte, and
// the one behind the last. Without it the payload is there as it was.
const headerAdded = "Edgebroker-Added"

// maxName is how many bytes a type, or the name of a source, may have.
const maxName = 1024

// eventJSON is the form of events on the far side. Components add the name of
// the client to the fields of an event, and so do we.
type eventJSON struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Source    string `json:"source"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
	ClientID  string `json:"clientId,omitempty"`
	Gateway   string `json:"gateway"`
}

// marshal encodes v without regard for web pages.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// eventBody is a message of this broker as an event. A payload that is an event
// already passes as that one, with what it lacks; added is where that is, for
// headerAdded. Every other is the data of an event of type message.
func eventBody(gateway, topic, id string, d relay.Delivery, retain bool, at time.Time) (body []byte, added string, err error) {
	m := d.Message
	if id == "" {
		id = xid.New().String()
	}
	e := eventJSON{ID: id, Type: string(events.Message), Source: publisher(m), Timestamp: at.UTC().Format(events.TimeLayout), ClientID: m.Publisher, Gateway: gateway}
	if body, added, ok := completed(m.Payload, e); ok {
		return body, added, nil
	}
	e.Data = events.MessageData{ClientID: m.Publisher, Topic: topic, Payload: m.Payload, QoS: d.QoS, Retain: retain, Dup: d.Dup, Size: len(m.Payload)}
	body, err = marshal(e)
	return body, "", err
}

// publisher is whom an event names as the source of m.
func publisher(m *relay.Message) string {
	if strings.HasPrefix(m.Publisher, SessionPrefix) {
		if source := relay.SourceOf(m.Props); source != "" {
			return source
		}
	}
	if m.Publisher == "" {
		return events.Source
	}
	return m.Publisher
}

// completed is a payload that is an event of a type of its own, with what e has
// and it lacks. It reports false if it is not.
func completed(payload []byte, e eventJSON) (body []byte, added string, ok bool) {
	end := len(bytes.TrimRight(payload, " \t\r\n")) - 1
	if end < 0 || payload[end] != '}' || !bytes.Contains(payload, []byte(`"type"`)) {
		return nil, "", false
	}
	fields, err := object(payload)
	if err != nil {
		return nil, "", false
	}
	typ, err := name(fields, "type")
	if err != nil || typ == "" || typ == string(events.Any) || events.Type(typ).BuiltIn() || fields["data"] == nil {
		return nil, "", false
	}
	var more []byte
	for _, f := range []struct{ key, value string }{{"id", e.ID}, {"source", e.Source}, {"timestamp", e.Timestamp}, {"gateway", e.Gateway}} {
		if _, there := fields[f.key]; !there {
			more = appendField(more, f.key, f.value)
		}
	}
	more = appendField(more, "clientId", e.ClientID) // theirs, if they have one, does not count
	body = make([]byte, 0, len(payload)+len(more))
	body = append(append(append(body, payload[:end]...), more...), payload[end:]...)
	return body, fmt.Sprintf("%d-%d", end, end+len(more)), true
}

func appendField(dst []byte, key, value string) []byte {
	text, err := marshal(value)
	if err != nil {
		return dst // cannot be: text always can be encoded
	}
	return append(append(append(append(dst, `,"`...), key...), `":`...), text...)
}

// Why a message is no event.
var (
	errNoObject = errors.New("it is not a JSON object")
	errNoType   = errors.New("it has no type")
)

// object reads a JSON object by its keys.
func object(b []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil || fields == nil {
		return nil, errNoObject
	}
	return fields, nil
}

// name reads a field that names somebody or something: "" if it is not there.
func name(fields map[string]json.RawMessage, key string) (string, error) {
	raw, there := fields[key]
	if !there || string(raw) == "null" {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("its %s is not text", key)
	}
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("its %s is too long, or has control characters", key)
	}
	return s, nil
}

// eventMessage is what an event stands for as a message: its payload, and the
// headers that say what else it has. Those that h has count; the source becomes a
// user property.
func eventMessage(h nats.Header, body []byte) (nats.Header, []byte, error) {
	fields, err := object(body)
	if err != nil {
		return nil, nil, err
	}
	typ, err := name(fields, "type")
	if err != nil {
		return nil, nil, err
	}
	if typ == "" {
		return nil, nil, errNoType
	}
	source, err := name(fields, "source")
	if err != nil {
		return nil, nil, err
	}
	client, err := name(fields, "clientId")
	if err != nil {
		return nil, nil, err
	}
	out := make(nats.Header, len(h)+2)
	for k, v := range h {
		out[k] = v
	}
	payload := body
	if typ == string(events.Message) {
		if own, ok := ownPayload(fields["data"], out); ok {
			payload = own
		}
	} else {
		payload = cut(body, h.Get(headerAdded))
	}
	out[headerUser] = withSource(h[headerUser], cmp.Or(source, client, "nats"))
	return out, payload, nil
}

// ownPayload is the payload that the data of a message event has: text, or a
// value, or base64. What it says of QoS and retaining goes into h, unless that
// says it.
func ownPayload(data json.RawMessage, h nats.Header) (payload []byte, ok bool) {
	var text string
	if json.Unmarshal(data, &text) == nil && len(data) > 0 && data[0] == '"' {
		return []byte(text), true
	}
	fields, err := object(data)
	if err != nil {
		return nil, false
	}
	value, plain := fields["payload"]
	coded, other := fields["payloadBase64"]
	switch {
	case plain == other:
		return nil, false
	case other:
		if json.Unmarshal(coded, &payload) != nil {
			return nil, false
		}
	case value[0] == '"':
		if json.Unmarshal(value, &text) != nil {
			return nil, false
		}
		payload = []byte(text)
	default:
		payload = value
	}
	var qos byte
	if json.Unmarshal(fields["qos"], &qos) == nil && qos <= 2 && h.Get(headerQoS) == "" {
		h[headerQoS] = []string{strconv.Itoa(int(qos))}
	}
	if h.Get(headerGateway) == "" && string(fields["retain"]) == "true" {
		h[headerRetain] = []string{"1"}
	}
	return payload, true
}

// cut takes out of body what another gateway has added. Where that makes no
// sense it stays.
func cut(body []byte, added string) []byte {
	first, behind, found := strings.Cut(added, "-")
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(behind)
	if !found || err1 != nil || err2 != nil || from < 1 || to < from || to >= len(body) || body[to] != '}' {
		return body
	}
	rest := append(bytes.Clone(body[:from]), body[to:]...)
	if !json.Valid(rest) {
		return body
	}
	return rest
}

// withSource is list with the user property that names the source.
func withSource(list []string, source string) []string {
	prefix := relay.SourceProperty + "="
	out := make([]string, 0, len(list)+1)
	for _, pair := range list {
		if !strings.HasPrefix(pair, prefix) {
			out = append(out, pair)
		}
	}
	return append(out, prefix+url.QueryEscape(source))
}

// sentAt is when a message was published, as far as that is known, and else now.
func (u *Uplink) sentAt(m *relay.Message, now time.Time) time.Time {
	if age, known := u.near.relay.Age(m); known && age > time.Second {
		return now.Add(-age)
	}
	return now
}
