package statsd

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// WriteTable writes the snapshot for people to read: plain text, in groups,
// without colours.
func (s Snapshot) WriteTable(w io.Writer) error {
	var b strings.Builder
	s.brokerGroup().write(&b)
	if g := s.bridgeGroup(); len(g.rows) > 0 {
		g.write(&b)
	}
	if g := s.certificateGroup(); len(g.rows) > 0 {
		g.write(&b)
	}
	s.clientsGroup().write(&b)
	s.trafficGrid().write(&b)
	if g := s.deliveryGroup(); len(g.rows) > 0 {
		g.write(&b)
	}
	reasons("dropped", s.Dropped.Total, s.Dropped.ByReason).write(&b)
	s.storeGroup().write(&b)
	s.storageGroup().write(&b)
	s.ratesGrid().write(&b)
	reasons("disconnected", sum(s.Disconnections), s.Disconnections).write(&b)
	if n := sum(s.Refusals); n > 0 {
		reasons("refused", n, s.Refusals).write(&b)
	}
	s.memoryGroup().write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// group is a heading with named values below.
type group struct {
	title string
	rows  [][2]string
}

// labelWidth aligns the values of all groups.
const labelWidth = 22

func (g group) write(b *strings.Builder) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(g.title + "\n")
	for _, r := range g.rows {
		fmt.Fprintf(b, "  %s %s\n", pad(r[0], labelWidth), r[1])
	}
}

func (s Snapshot) brokerGroup() group {
	started := "unknown"
	if !s.StartedAt.IsZero() {
		started = s.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	g := group{"broker", [][2]string{
		{"version", SafeText(s.Version, maxText)},
		{"uptime", span(seconds(s.Uptime))},
		{"started", started},
	}}
	label := "listens on"
	for _, l := range s.Listeners {
		g.rows = append(g.rows, [2]string{label, fmt.Sprintf("%s %s (%s)", l.Type, SafeText(l.Address, 0), SafeText(l.Name, maxText))})
		label = ""
	}
	return g
}

func (s Snapshot) clientsGroup() group {
	return group{"clients", [][2]string{
		{"connected", fmt.Sprintf("%s (most at once %s)", count(s.ClientCount), count(s.Connections.Maximum))},
		{"connections", fmt.Sprintf("%s accepted, %s refused", count(s.Connections.Total), count(s.Connections.Refused))},
		{"sessions", fmt.Sprintf("%s (%s kept for absent clients)", count(s.Sessions.Total), count(s.Sessions.Kept))},
		{"subscriptions", fmt.Sprintf("%s (%s shared)", count(s.Subscriptions.Total), count(s.Subscriptions.Shared))},
	}}
}

func (s Snapshot) storeGroup() group {
	return group{"held", [][2]string{
		{"retained", s.Retained.String()},
		{"queued", Store{s.Queued.Messages, s.Queued.Bytes}.String()},
		{"in flight", count(s.Queued.Inflight)},
	}}
}

// String writes how many messages there are and what they take.
func (s Store) String() string {
	noun := "messages"
	if s.Messages == 1 {
		noun = "message"
	}
	return fmt.Sprintf("%s %s, %s", count(s.Messages), noun, size(s.Bytes))
}

func (s Snapshot) memoryGroup() group {
	resident := "unknown"
	if s.Memory.Resident > 0 {
		resident = size(s.Memory.Resident)
	}
	return group{"process", [][2]string{
		{"memory", resident},
		{"heap", fmt.Sprintf("%s (%s from the system)", size(s.Memory.Heap), size(s.Memory.Sys))},
		{"budget", s.Budget.String()},
		{"goroutines", count(s.Memory.Goroutines)},
		{"event listeners", fmt.Sprintf("%s (%s)", count(s.Events.Listeners), s.Events.lost())},
	}}
}

// lost words which events somebody has missed.
func (e EventStats) lost() string {
	text := count(e.Dropped) + " events dropped"
	if e.Unrecorded > 0 {
		text += ", " + count(e.Unrecorded) + " not recorded"
	}
	return text
}

// String writes the budget and how much of it is used.
func (b Budget) String() string {
	if b.Bytes <= 0 {
		return "none"
	}
	text := fmt.Sprintf("%s (%s used, most %s), %s", size(b.Bytes), size(b.Used), size(b.Most), SafeText(b.Level, maxText))
	if n := sum(b.Shed) - b.Shed["spilled"]; n > 0 {
		text += fmt.Sprintf(", shed %s times", count(n))
	}
	return text
}

// reasons lists a total, and below it the counts by reason, the largest first.
func reasons(title string, total uint64, counts map[string]uint64) group {
	g := group{title: title, rows: [][2]string{{"total", count(total)}}}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		if counts[name] > 0 {
			g.rows = append(g.rows, [2]string{SafeText(name, labelWidth), count(counts[name])})
		}
	}
	return g
}

func (s Snapshot) trafficGrid() grid {
	g := grid{header: []string{"traffic", "messages", "qos 0", "qos 1", "qos 2", "payload", "on the wire"}, indent: 1}
	row := func(name string, t Traffic) {
		g.rows = append(g.rows, []string{name, count(t.Messages), count(t.QoS0), count(t.QoS1), count(t.QoS2), size(t.PayloadBytes), size(t.Bytes)})
	}
	row("received", s.Received)
	row("sent", s.Sent)
	return g
}

func (s Snapshot) ratesGrid() grid {
	g := grid{header: []string{"per second", "1 min", "5 min", "15 min"}, indent: 1}
	row := func(name string, r Rate, format func(float64) string) {
		g.rows = append(g.rows, []string{name, format(r.Min1), format(r.Min5), format(r.Min15)})
	}
	row("messages received", s.Rates.Received, rate)
	row("messages sent", s.Rates.Sent, rate)
	row("messages dropped", s.Rates.Dropped, rate)
	row("bytes received", s.Rates.BytesReceived, byteRate)
	row("bytes sent", s.Rates.BytesSent, byteRate)
	row("connections", s.Rates.Connections, rate)
	return g
}

func sum(counts map[string]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}

type integer interface {
	~int | ~int64 | ~uint64
}

// count writes a number with separators between thousands.
func count[N integer](n N) string {
	if n > 0 && uint64(n) > math.MaxInt64 {
		return humanize.BigComma(new(big.Int).SetUint64(uint64(n)))
	}
	return humanize.Comma(int64(n))
}

// size writes a number of bytes with a binary unit.
func size[N integer](n N) string {
	if n < 0 {
		n = 0 // a gauge read between two of its changes
	}
	return humanize.IBytes(uint64(n))
}

// rate writes a rate; slow ones, which are common on a gateway, more finely.
func rate(perSecond float64) string {
	if perSecond < 10 {
		return humanize.FormatFloat("#,###.##", perSecond)
	}
	return humanize.FormatFloat("#,###.#", perSecond)
}

func byteRate(perSecond float64) string { return size(uint64(max(perSecond, 0))) }

// seconds converts a number of seconds.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// span writes a duration with its two largest units: "3d 4h", "12m 5s".
func span(d time.Duration) string {
	d = max(d, 0)
	s := int64(d / time.Second)
	switch {
	case s >= 86400:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}

// pad fills s with spaces up to width characters.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
