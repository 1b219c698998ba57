package appliance

import (
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/internal/unixsocket"
)

// Validate reports everything that is wrong with c as a *[ConfigError], or
// nil. It looks at c alone, never at the network or the file system.
func (c Config) Validate() error { return c.validate(false) }

// validate is Validate for a broker that does, or does not, offer a method of
// authentication.
func (c Config) validate(methods bool) error {
	var problems []Problem
	for _, f := range c.findings() {
		if !methods || !f.noMethods {
			problems = append(problems, Problem{Path: f.path, Message: f.message(nil)})
		}
	}
	return configError(problems)
}

// finding is a problem before it is known where in a file it stands.
type finding struct {
	path string
	what string
	// other, if not empty, is the path of a second value that has a part in
	// the problem. It is named after what, with its line, and before mend.
	other string
	mend  string

	noMethods bool // no problem where clients can authenticate themselves
}

// message words the finding. line tells the line of a path, 0 if unknown.
func (f finding) message(line func(path string) int) string {
	if f.other == "" {
		return f.what + "; " + f.mend
	}
	where := ""
	if line != nil {
		if n := line(f.other); n > 0 {
			where = fmt.Sprintf(" (line %d)", n)
		}
	}
	return f.what + " " + f.other + where + "; " + f.mend
}

func (c Config) findings() []finding {
	out := c.listenerFindings()
	out = append(out, c.controlFindings()...)
	out = append(out, c.httpFindings()...)
	out = append(out, c.sizeFindings()...)
	out = append(out, c.memoryFindings(c.Memory)...)
	out = append(out, oneOf("sessions.when_full", c.FullQueue(), DropOldest, DropNewest, Refuse)...)
	out = append(out, c.classFindings()...)
	out = append(out, c.Access.findings()...)
	out = append(out, c.Storage.findings()...)
	out = append(out, c.bridgeFindings()...)
	out = append(out, c.Events.findings()...)
	out = append(out, c.Sys.findings()...)
	out = append(out, c.Statsd.findings()...)
	out = append(out, oneOf("log.format", c.Log.Format, LogAuto, LogText, LogJSON, LogJournal)...)
	out = append(out, c.OTLP.findings()...)
	out = append(out, c.Upgrade.findings()...)
	return out
}

func (c Config) controlFindings() []finding {
	var out []finding
	if c.Control.Socket != "" {
		out = append(out, socketFindings("control.socket", c.Control.Socket)...)
		for i, l := range c.Listeners {
			if len(out) == 0 && l.Network() == ListenUnix && filepath.Clean(l.Address) == filepath.Clean(c.Control.Socket) {
				out = append(out, finding{
					path:  "control.socket",
					what:  fmt.Sprintf("socket %s is taken by", quoteShort(c.Control.Socket)),
					other: listenerItem(i), mend: "pick another",
				})
			}
		}
	}
	if c.Control.Mode == 0 {
		return append(out, finding{path: "control.mode", what: "no file mode", mend: "set one, such as 0660"})
	}
	return append(out, modeFindings("control.mode", c.Control.Mode)...)
}

func socketFindings(path, socket string) []finding {
	switch {
	case !filepath.IsAbs(socket):
		return []finding{{path: path, what: quoteShort(socket) + " is not an absolute path", mend: "write the path of the socket from / on"}}
	case strings.ContainsRune(socket, 0):
		return []finding{{path: path, what: "the path holds a zero byte", mend: "remove it"}}
	case len(socket) > unixsocket.MaxPath:
		return []finding{{path: path, what: fmt.Sprintf("the path has %d bytes, a unix socket's can have %d", len(socket), unixsocket.MaxPath), mend: "use a shorter one"}}
	}
	return nil
}

func modeFindings(path string, mode fs.FileMode) []finding {
	if mode&^fs.ModePerm == 0 {
		return nil
	}
	return []finding{{path: path, what: fmt.Sprintf("%#o is more than permission bits", uint32(mode)), mend: "use one up to 0777"}}
}

// within is a value and the bounds that it must keep.
type within[T int | ByteSize | time.Duration] struct {
	path       string
	v, lo, hi  T
	unlimited0 bool // 0 stands for no limit
}

func (w within[T]) findings() []finding {
	switch {
	case w.unlimited0 && w.v == 0:
	case w.v < w.lo && w.unlimited0:
		return []finding{{path: w.path, what: valueText(w.v) + " is less than " + valueText(w.lo), mend: "raise it, or set " + valueText(T(0)) + " for no limit"}}
	case w.v < w.lo:
		return []finding{{path: w.path, what: valueText(w.v) + " is less than " + valueText(w.lo), mend: "raise it"}}
	case w.v > w.hi:
		return []finding{{path: w.path, what: valueText(w.v) + " is more than " + valueText(w.hi), mend: "lower it"}}
	}
	return nil
}

// valueText words a value as the file would.
func valueText(v any) string {
	if d, ok := v.(time.Duration); ok {
		if d != 0 && d%day == 0 {
			return fmt.Sprintf("%dd", d/day)
		}
		s := d.String() // 1h0m0s
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	}
	return fmt.Sprint(v)
}

// Bounds that come from MQTT: counts of 16 bits, frames of 28 bits and their
// header, expiry in 32 bits of seconds of which the last value means never.
const (
	maxUint16      = math.MaxUint16
	maxFrame       = 256 * MiB
	maxExpiry      = 49710 * day
	maxTopicLevels = math.MaxUint16
)

// Bounds that limits and listeners share.
const (
	minPacketSize     = 1 * KiB
	minConnectTimeout = 100 * time.Millisecond
	maxConnectTimeout = time.Hour
)

// sizeFindings checks every bound, and those in range against each other.
func (c Config) sizeFindings() []finding {
	out := c.rangeFindings()
	outside := map[string]bool{}
	for _, f := range out {
		outside[f.path] = true
	}
	for _, f := range c.budgetFindings() {
		if !outside[f.path] && !outside[f.other] {
			out = append(out, f)
		}
	}
	return out
}

func (c Config) rangeFindings() []finding {
	var out []finding
	for _, w := range []within[int]{
		{"limits.max_connections", c.Limits.MaxConnections, 1, math.MaxInt32, true},
		{"limits.max_connections_per_address", c.Limits.MaxPerAddress, 1, math.MaxInt32, true},
		{"limits.connect_rate", c.Limits.ConnectRate, 1, math.MaxInt32, true},
		{"limits.max_unauthenticated", c.Limits.MaxUnauthenticated, 1, math.MaxInt32, false},
		{"limits.max_topic_levels", c.Limits.MaxTopicLevels, 1, maxTopicLevels, false},
		{"limits.receive_maximum", c.Limits.ReceiveMaximum, 1, maxUint16, false},
		{"limits.max_inflight", c.Limits.MaxInflight, 1, maxUint16, false},
		{"limits.max_topic_alias", c.Limits.MaxTopicAlias, 0, maxUint16, false},
		{"limits.publish_rate", c.Limits.PublishRate, 1, math.MaxInt32, true},
		{"sessions.max_sessions", c.Sessions.MaxSessions, 1, math.MaxInt32, true},
		{"sessions.max_subscriptions", c.Sessions.MaxSubscriptions, 1, math.MaxInt32, true},
		{"sessions.max_queued_messages", c.Sessions.MaxQueuedMessages, 1, math.MaxInt32, false},
		{"retained.max_messages", c.Retained.MaxMessages, 1, math.MaxInt32, false},
		{"events.queue", c.Events.Queue, 1, 1 << 20, false},
	} {
		out = append(out, w.findings()...)
	}
	for _, w := range []within[ByteSize]{
		{"limits.max_connect_size", c.Limits.MaxConnectSize, 1 * KiB, 16 * MiB, false},
		{"limits.max_packet_size", c.Limits.MaxPacketSize, minPacketSize, maxFrame, false},
		{"limits.max_outbound_bytes", c.Limits.MaxOutboundBytes, 4 * KiB, 1 * GiB, false},
		{"limits.publish_bytes", c.Limits.PublishBytes, 100, math.MaxInt64, true},
		{"sessions.max_queued_bytes", c.Sessions.MaxQueuedBytes, 1 * KiB, math.MaxInt64, false},
		{"sessions.total_queued_bytes", c.Sessions.TotalQueuedBytes, 1 * KiB, math.MaxInt64, false},
		{"retained.max_bytes", c.Retained.MaxBytes, 1 * KiB, math.MaxInt64, false},
		{"storage.max_bytes", c.Storage.MaxBytes, minSegments * minSegmentSize, math.MaxInt64, false},
		{"storage.segment_size", c.Storage.SegmentSize, minSegmentSize, maxSegmentSize, false},
		{"storage.daily_write_budget", c.Storage.DailyWriteBudget, 1 * MiB, math.MaxInt64, true},
	} {
		out = append(out, w.findings()...)
	}
	if n := c.Events.Recorder.MaxBytes; n != 0 {
		out = append(out, within[ByteSize]{"events.recorder.max_bytes", n, 64 * KiB, 16 * GiB, false}.findings()...)
	}
	for _, w := range []within[time.Duration]{
		{"limits.connect_timeout", c.Limits.ConnectTimeout, minConnectTimeout, maxConnectTimeout, false},
		{"limits.publish_patience", c.Limits.PublishPatience, 0, 24 * time.Hour, false},
		{"sessions.max_expiry", c.Sessions.MaxExpiry, time.Second, maxExpiry, false},
		{"storage.flush_interval", c.Storage.FlushInterval, 10 * time.Millisecond, time.Hour, false},
		{"storage.max_commit_delay", c.Storage.MaxCommitDelay, 0, time.Second, false},
	} {
		out = append(out, w.findings()...)
	}
	if e := c.Sessions.MaxExpiry; e > 0 && e <= maxExpiry && e%time.Second != 0 && e > time.Second {
		out = append(out, finding{path: "sessions.max_expiry", what: valueText(e) + " is not a whole number of seconds", mend: "round it, MQTT counts in seconds"})
	}
	return out
}

// budgetFindings compares the bounds that must fit into each other.
func (c Config) budgetFindings() []finding {
	var out []finding
	if s := c.Sessions; s.MaxQueuedBytes > s.TotalQueuedBytes && !c.Storage.persistent() {
		out = append(out, finding{
			path:  "sessions.max_queued_bytes",
			what:  fmt.Sprintf("the %v for one session do not fit into the %v for all of", s.MaxQueuedBytes, s.TotalQueuedBytes),
			other: "sessions.total_queued_bytes", mend: "lower this or raise that",
		})
	}
	if c.Limits.MaxPacketSize > c.Sessions.MaxQueuedBytes {
		out = append(out, finding{
			path:  "limits.max_packet_size",
			what:  fmt.Sprintf("a message of %v could never wait in a session, which holds the %v of", c.Limits.MaxPacketSize, c.Sessions.MaxQueuedBytes),
			other: "sessions.max_queued_bytes", mend: "lower this or raise that",
		})
	}
	if s := c.Storage; s.MaxBytes/minSegments < s.SegmentSize {
		out = append(out, finding{
			path:  "storage.max_bytes",
			what:  fmt.Sprintf("%v do not hold %d times the %v of", s.MaxBytes, minSegments, s.SegmentSize),
			other: "storage.segment_size", mend: "raise this or lower that; space is reclaimed by whole segments",
		})
	}
	if s := c.Storage; s.MaxCommitDelay > s.FlushInterval {
		out = append(out, finding{
			path:  "storage.max_commit_delay",
			what:  fmt.Sprintf("acknowledgements would wait longer than the %v of", s.FlushInterval),
			other: "storage.flush_interval", mend: "lower this or raise that",
		})
	}
	return out
}

// oneOf checks a word against the words allowed.
func oneOf[T ~string](path string, v T, allowed ...T) []finding {
	if slices.Contains(allowed, v) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return []finding{{path: path, what: quoteShort(string(v)) + " is unknown", mend: didYouMean(string(v), words, "use ")}}
}
