package trace

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Heading is the line above those of Text.
const Heading = "     SECONDS       GAP  CONN       PACKET         SIZE"

// Text is e as one line under Heading. It may hold untrusted text as it came.
func (e *Entry) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%12.6f ", e.Since)
	switch {
	case e.What == PacketSeen && e.Gap != nil:
		fmt.Fprintf(&b, "%9s ", span(*e.Gap))
	default:
		fmt.Fprintf(&b, "%9s ", "")
	}
	number := ""
	if e.Conn != 0 {
		number = "#" + strconv.FormatUint(e.Conn, 10)
	}
	fmt.Fprintf(&b, "%5s  ", number)
	switch e.What {
	case PacketSeen:
		what := []string{e.Packet.text()}
		if e.Fault != nil {
			what = append(what, "wrong: "+e.Fault.text())
		}
		fmt.Fprintf(&b, "%-3s  %-11s %7d  %s", e.Direction, e.Packet.Type, e.Packet.Size, strings.TrimPrefix(strings.Join(what, "; "), "; "))
	case Broken:
		fmt.Fprintf(&b, "%-3s  broken: %s", e.Direction, e.Fault.text())
	case Began:
		fmt.Fprintf(&b, "trace of %s, from %s", e.Note, e.Time.UTC().Format("2006-01-02 15:04:05.000 UTC"))
	case Connection:
		b.WriteString("connection from " + e.Remote + " by listener " + e.Listener)
		if e.Client != "" {
			b.WriteString(", client " + name(e.Client))
		}
		if e.Note != "" {
			b.WriteString(", " + e.Note)
		}
	case Ended:
		b.WriteString("end of the connection: " + e.Note)
	case Missed:
		fmt.Fprintf(&b, "%d entries are missing here: they came faster than they were read", e.Missed)
	default:
		b.WriteString(e.What + " " + e.Note)
	}
	return strings.TrimRight(b.String(), " ")
}

// span words seconds with three digits or so.
func span(seconds float64) string {
	d := time.Duration(math.Round(seconds * float64(time.Second)))
	for _, step := range []struct{ below, to time.Duration }{
		{10 * time.Microsecond, 100 * time.Nanosecond},
		{time.Millisecond, time.Microsecond},
		{10 * time.Millisecond, 10 * time.Microsecond},
		{time.Second, time.Millisecond},
		{time.Minute, 10 * time.Millisecond},
		{math.MaxInt64, time.Second},
	} {
		if d < step.below {
			d = d.Round(step.to)
			break
		}
	}
	return strings.Replace(d.String(), "µs", "us", 1)
}

// name is a text from a packet, in quotes if it could be taken for more.
func name(s string) string {
	if s == "" || strings.ContainsAny(s, " ,;\"\\") {
		return strconv.Quote(s)
	}
	return s
}

// text says what is in p, and not its type and size.
func (p *Packet) text() string {
	var parts []string
	add := func(format string, a ...any) { parts = append(parts, fmt.Sprintf(format, a...)) }
	if p.ID != 0 {
		add("id %d", p.ID)
	}
	if p.QoS != nil {
		add("QoS %d", *p.QoS)
	}
	if p.Dup {
		add("dup")
	}
	if p.Retain {
		add("retain")
	}
	switch {
	case p.Alias == 0 && p.Topic != "":
		add("%s", name(p.Topic))
	case p.Alias == 0:
	case p.Topic != "":
		add("%s (now alias %d)", name(p.Topic), p.Alias)
	case p.AliasOf != "":
		add("alias %d for %s", p.Alias, name(p.AliasOf))
	default:
		add("alias %d, set before the trace", p.Alias)
	}
	if p.Connect != nil {
		parts = append(parts, p.Connect.texts()...)
	}
	if p.SessionPresent {
		add("session present")
	}
	for _, r := range p.Reasons {
		if r.Code == 0 {
			add("%s", r.Name)
		} else {
			add("%s (0x%02x)", r.Name, r.Code)
		}
	}
	for _, f := range p.Filters {
		add("%s", f.text())
	}
	for _, q := range p.Properties {
		if q.Name != "topic alias" {
			add("%s", q.text())
		}
	}
	if p.Left > 0 {
		add("and %d more", p.Left)
	}
	if p.Payload != nil {
		add("%s", p.Payload.text("payload"))
	}
	if p.Answers != nil {
		add("%s after %s", span(p.Answers.After), p.Answers.Type)
	}
	if p.Behind > 0 {
		add("waits behind %d B", p.Behind)
	}
	return strings.Join(parts, ", ")
}

func (c *Connect) texts() []string {
	parts := []string{"MQTT " + c.Protocol, "client " + strconv.Quote(c.ClientID)}
	if c.CleanStart {
		parts = append(parts, "clean start")
	}
	parts = append(parts, fmt.Sprintf("keep alive %ds", c.KeepAlive))
	if c.Username != nil {
		parts = append(parts, "user "+strconv.Quote(*c.Username))
	}
	if c.PasswordSize != nil {
		parts = append(parts, fmt.Sprintf("password of %d B", *c.PasswordSize))
	}
	if w := c.Will; w != nil {
		will := []string{fmt.Sprintf("will QoS %d", w.QoS)}
		if w.Retain {
			will = append(will, "will retain")
		}
		will = append(will, "will topic "+name(w.Topic))
		for _, q := range w.Properties {
			will = append(will, "will "+strings.TrimPrefix(q.text(), "will "))
		}
		parts = append(parts, append(will, w.Payload.text("will payload"))...)
	}
	return parts
}

func (f *Filter) text() string {
	s := name(f.Filter)
	if f.QoS != nil {
		s += fmt.Sprintf(" QoS %d", *f.QoS)
	}
	if f.NoLocal {
		s += " no local"
	}
	if f.RetainAsPublished {
		s += " retain as published"
	}
	if f.RetainHandling > 0 {
		s += fmt.Sprintf(" retain handling %d", f.RetainHandling)
	}
	return s
}

func (q *Property) text() string {
	switch {
	case q.Hide:
		return fmt.Sprintf("%s of %d B", q.Name, *q.Size)
	case q.Size != nil && q.Cut:
		return fmt.Sprintf("%s %s... (%d B)", q.Name, q.Hex, *q.Size)
	case q.Size != nil:
		return fmt.Sprintf("%s %s", q.Name, q.Hex)
	case q.Key != nil:
		return fmt.Sprintf("%s %q=%q", q.Name, *q.Key, q.Value)
	}
	return q.Name + " " + name(q.Value)
}

func (p *Payload) text(what string) string {
	s := fmt.Sprintf("%s of %d B", what, p.Size)
	switch {
	case p.Text != "":
		s += ": " + strconv.Quote(p.Text)
	case p.Hex != "":
		s += ": hex " + p.Hex
	default:
		return s
	}
	if p.Cut {
		s += "..."
	}
	return s
}

func (f *Fault) text() string {
	s := f.What
	if f.Offset != nil {
		s += fmt.Sprintf(", at offset %d", *f.Offset)
	}
	if f.Head != "" {
		s += ", begins with " + f.Head
	}
	return s
}
