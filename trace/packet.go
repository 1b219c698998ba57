package trace

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/wire"
)

const (
	maxText   = 4 << 10 // bytes shown of a text
	maxListed = 100     // reasons, filters and properties shown of a packet, each
	maxBinary = 32      // bytes shown of a property that is not text

	shortHead = 16 // bytes shown of what is broken
	longHead  = 64 // with payloads

	entryCost = 512 // bytes that an entry takes beside its texts, roughly
)

// packet is what is shown of d, a packet of size bytes, whose payload goes on in
// body.
func (t *Tap) packet(d *wire.Dissection, size int, body []byte) *Packet {
	most := t.trace.q.Payload
	p := &Packet{Type: d.Type.String(), Size: size, ID: d.PacketID, Alias: d.Alias, SessionPresent: d.SessionPresent}
	p.Properties, p.Left = properties(d.Props)
	for i, r := range d.Reasons {
		if i == maxListed {
			p.Left += len(d.Reasons) - i
			break
		}
		p.Reasons = append(p.Reasons, reason(r, d))
	}
	for i, f := range d.Filters {
		if i == maxListed {
			p.Left += len(d.Filters) - i
			break
		}
		shown := Filter{Filter: short([]byte(f.Filter)), NoLocal: f.NoLocal, RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling}
		if d.Type == wire.SUBSCRIBE {
			shown.QoS = &f.QoS
		}
		p.Filters = append(p.Filters, shown)
	}
	switch d.Type {
	case wire.PUBLISH:
		p.QoS, p.Dup, p.Retain = &d.QoS, d.Dup, d.Retain
		p.Topic = short(d.Topic)
		if d.Payload != nil {
			p.Payload = payload(d.Payload, body, most)
		}
	case wire.CONNECT:
		p.Connect = connect(d, most)
	}
	return p
}

func reason(r wire.Reason, d *wire.Dissection) Reason {
	name := r.String()
	switch {
	case r != wire.Success:
	case d.Type == wire.SUBACK:
		name = "granted QoS 0"
	case d.Type == wire.DISCONNECT:
		name = "normal disconnection"
	}
	code := byte(r)
	if d.Type == wire.CONNACK && d.Version < wire.V5 {
		code = r.ConnackCode(d.Version)
	}
	return Reason{code, name}
}

func connect(d *wire.Dissection, most int) *Connect {
	c := &Connect{Protocol: d.Version.String(), CleanStart: d.CleanStart, KeepAlive: d.KeepAlive, ClientID: short(d.ClientID)}
	if d.HasUsername {
		name := short(d.Username)
		c.Username = &name
	}
	if d.HasPassword {
		c.PasswordSize = &d.PasswordSize
	}
	if w := d.Will; w != nil {
		list, _ := properties(w.Props)
		c.Will = &Will{Topic: short(w.Topic), QoS: w.QoS, Retain: w.Retain, Properties: list, Payload: payload(w.Payload, nil, most)}
	}
	return c
}

func properties(props []wire.Property) (list []Property, left int) {
	for i, p := range props {
		if i == maxListed {
			return list, len(props) - i
		}
		shown := Property{Name: p.Name}
		size := len(p.Value)
		switch {
		case p.Secret:
			shown.Hide, shown.Size = true, &size
		case p.Form == wire.FormNumber:
			shown.Value = strconv.FormatUint(uint64(p.Number), 10)
		case p.Form == wire.FormBinary:
			shown.Size, shown.Cut = &size, size > maxBinary
			shown.Hex = hex.EncodeToString(p.Value[:min(size, maxBinary)])
		case p.Form == wire.FormPair:
			key := short(p.Key)
			shown.Key, shown.Value = &key, short(p.Value)
		default:
			shown.Value = short(p.Value)
		}
		list = append(list, shown)
	}
	return list, 0
}

// payload shows at most most bytes of a payload that is in two parts.
func payload(front, back []byte, most int) *Payload {
	p := &Payload{Size: len(front) + len(back)}
	if most == 0 || p.Size == 0 {
		return p
	}
	shown := append([]byte(nil), front[:min(len(front), most)]...)
	shown = append(shown, back[:min(len(back), most-len(shown))]...)
	p.Cut = len(shown) < p.Size
	if text := whole(shown, p.Cut); readable(text) {
		p.Text = string(text)
	} else {
		p.Hex = hex.EncodeToString(shown)
	}
	return p
}

// whole is b without the beginning of a character at its end, if more may follow.
func whole(b []byte, cut bool) []byte {
	for i := 1; cut && i < utf8.UTFMax && i < len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			return b
		}
	}
	return b
}

// readable reports whether b is text that a person may want to read.
func readable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7F {
			return false
		}
	}
	return true
}

// short is b as text, cut to what is shown.
func short(b []byte) string {
	if len(b) <= maxText {
		return string(b)
	}
	return string(whole(b[:maxText], true)) + "..."
}

// cost is how many bytes of memory the texts of p take, roughly.
func (p *Packet) cost() int {
	n := len(p.Topic) + len(p.AliasOf) + 48*len(p.Reasons) + p.Payload.cost() + propertiesCost(p.Properties)
	if c := p.Connect; c != nil {
		n += len(c.ClientID)
		if c.Username != nil {
			n += len(*c.Username)
		}
		if w := c.Will; w != nil {
			n += len(w.Topic) + w.Payload.cost() + propertiesCost(w.Properties)
		}
	}
	for _, f := range p.Filters {
		n += 64 + len(f.Filter)
	}
	return n
}

func (p *Payload) cost() int {
	if p == nil {
		return 0
	}
	return 64 + len(p.Text) + len(p.Hex)
}

func propertiesCost(list []Property) (n int) {
	for _, p := range list {
		n += 128 + len(p.Value) + len(p.Hex)
		if p.Key != nil {
			n += len(*p.Key)
		}
	}
	return n
}

// head is the first bytes of a packet that is wrong, or of input that is none (d
// is nil), in hexadecimal: none that may belong to a password or to
// authentication data, and none of a payload unless payloads are shown.
func head(raw []byte, d *wire.Dissection, payloads bool) string {
	n := shortHead
	if payloads {
		n = longHead
	}
	header := 1 // that of the packet, length included
	for header < len(raw) && header < 5 && raw[header]&0x80 != 0 {
		header++
	}
	header++
	switch wire.Type(raw[0] >> 4) {
	case wire.CONNECT:
		n = header + 10 // protocol, level, flags and keep alive
	case wire.AUTH:
		n = header + 1 // reason code
	case wire.PUBLISH:
		switch {
		case payloads:
		case d != nil && d.Payload != nil:
			n = min(n, len(raw)-len(d.Payload))
		case d != nil:
			n = min(n, d.At+4)
		case len(raw) > header+1:
			n = min(n, header+2+int(raw[header])<<8+int(raw[header+1]))
		}
	}
	return hex.EncodeToString(raw[:max(0, min(n, len(raw)))])
}
