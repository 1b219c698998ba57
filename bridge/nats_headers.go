package bridge

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/packets"
	"github.com/nats-io/nats.go"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// The headers of messages that go to NATS, besides Nats-Msg-Id. Those that begin
// with Mqtt- count on messages that come in as well. Text in them is written
// with % and two digits where a header could not hold it.
const (
	headerQoS         = "Mqtt-Qos"                // 0, 1 or 2
	headerRetain      = "Mqtt-Retain"             // 1, or not there
	headerExpiry      = "Mqtt-Expiry"             // seconds left
	headerFormat      = "Mqtt-Payload-Format"     // 1: the payload is UTF-8
	headerContentType = "Mqtt-Content-Type"       // text
	headerResponse    = "Mqtt-Response-Topic"     // a topic, not a subject
	headerCorrelation = "Mqtt-Correlation-Data"   // base64
	headerUser        = "Mqtt-User-Property"      // key=value as in a URL's query, one header for each, in order
	headerClient      = "Mqtt-Client-Id"          // who published it
	headerGateway     = "Edgebroker-Gateway"      // Config.Gateway
	headerTime        = "Edgebroker-Time"         // when it was sent, by the gateway's clock, RFC 3339
	headerID          = nats.MsgIdHdr             // see messageID
	headerStream      = nats.ExpectedStreamHdr    // that takes it, or none
	headerAfter       = nats.ExpectedLastMsgIdHdr // of the message before it in the stream
)

// messageID tells a message apart among all that this gateway ever sends: by
// the place that it has in the queue of the uplink, which a restart does not
// change. Where a crash has undone what was in that place, a store was put back
// from a backup, or the uplink was made anew, the place gets another message,
// but what that message says is in the identifier as well.
func messageID(gateway, epoch, uplink string, d relay.Delivery) string {
	h, m := fnv.New64a(), d.Message
	for _, part := range [][]byte{[]byte(uplink), []byte(m.Topic), m.Props, m.Payload} {
		_, _ = fmt.Fprintf(h, "%d:", len(part))
		_, _ = h.Write(part)
	}
	return fmt.Sprintf("%s/%s/%d-%016x", headerText(gateway), epoch, d.Seq, h.Sum64())
}

// headers are those of d, with props instead of its own properties.
func headers(gateway string, d relay.Delivery, retain bool, props []byte, now time.Time) (nats.Header, error) {
	h := nats.Header{
		headerQoS:     {strconv.Itoa(int(d.QoS))},
		headerGateway: {headerText(gateway)},
		headerTime:    {now.UTC().Format(time.RFC3339Nano)},
	}
	if d.Message.Publisher != "" {
		h[headerClient] = []string{headerText(d.Message.Publisher)}
	}
	if retain {
		h[headerRetain] = []string{"1"}
	}
	if d.Expiry > 0 {
		h[headerExpiry] = []string{strconv.FormatUint(uint64(d.Expiry), 10)}
	}
	if len(props) == 0 {
		return h, nil
	}
	var p packets.Properties
	if err := p.Unpack(bytes.NewBuffer(withLength(props)), packets.PUBLISH); err != nil {
		return nil, fmt.Errorf("read properties: %w", err)
	}
	if p.PayloadFormat != nil && *p.PayloadFormat == 1 {
		h[headerFormat] = []string{"1"}
	}
	if p.ContentType != "" {
		h[headerContentType] = []string{headerText(p.ContentType)}
	}
	if p.ResponseTopic != "" {
		h[headerResponse] = []string{headerText(p.ResponseTopic)}
	}
	if p.CorrelationData != nil {
		h[headerCorrelation] = []string{base64.StdEncoding.EncodeToString(p.CorrelationData)}
	}
	for _, u := range p.User {
		h[headerUser] = append(h[headerUser], url.QueryEscape(u.Key)+"="+url.QueryEscape(u.Value))
	}
	return h, nil
}

// withLength is props with their length before them, as packets have them.
func withLength(props []byte) []byte {
	b := make([]byte, 0, len(props)+4)
	n := len(props)
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), props...)
}

// publication is the message that headers and data stand for; qos is at most
// what it gets. A header that makes no sense is left out.
func publication(h nats.Header, data []byte, qos byte) wire.Out {
	out := wire.Out{Version: wire.V5, QoS: qos, Payload: data}
	if len(h) == 0 {
		return out
	}
	if n, err := strconv.ParseUint(h.Get(headerQoS), 10, 8); err == nil {
		out.QoS = min(qos, byte(min(n, 2)))
	}
	out.Retain = h.Get(headerRetain) == "1"
	if n, err := strconv.ParseUint(h.Get(headerExpiry), 10, 32); err == nil && n > 0 {
		out.HasExpiry, out.Expiry = true, uint32(n)
	}
	var p packets.Properties
	if h.Get(headerFormat) == "1" && utf8.Valid(data) {
		one := byte(1)
		p.PayloadFormat = &one
	}
	if text, err := url.PathUnescape(h.Get(headerContentType)); err == nil && fits(text) {
		p.ContentType = text
	}
	if topic, err := url.PathUnescape(h.Get(headerResponse)); err == nil && wire.ValidTopicString(topic) == nil {
		p.ResponseTopic = topic
	}
	if c, err := base64.StdEncoding.DecodeString(h.Get(headerCorrelation)); err == nil && len(c) <= math.MaxUint16 {
		p.CorrelationData = c
	}
	for _, pair := range h[headerUser] {
		key, value, _ := strings.Cut(pair, "=")
		k, err1 := url.QueryUnescape(key)
		v, err2 := url.QueryUnescape(value)
		if err1 == nil && err2 == nil && fits(k) && fits(v) {
			p.User = append(p.User, packets.User{Key: k, Value: v})
		}
	}
	out.Props = p.Pack(packets.PUBLISH)
	return out
}

// fits reports whether a property can hold s. [MQTT-1.5.4-1]
func fits(s string) bool {
	return len(s) <= math.MaxUint16 && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// headerText is s in a form that a header can hold; url.PathUnescape undoes it.
func headerText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		edge := c == ' ' && (i == 0 || i == len(s)-1)
		if c < ' ' || c == 0x7f || c == '%' || edge {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
