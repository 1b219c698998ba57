package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/synthetism/edgebroker/internal/screen"
	"github.com/synthetism/edgebroker/statsd"
)

// overview draws rates with their course, and totals, from row y on.
func (m *model) overview(f *screen.Frame, y int) {
	s := &m.snap
	bottom := m.h - 1
	if m.h < 18 {
		y--
	}
	put := func(text string, style screen.Style) {
		if y < bottom {
			m.put(f, y, style, text)
		}
		y++
	}
	put(fmt.Sprintf("%-10s %6s %6s %6s %6s", "PER SECOND", "NOW", "1 MIN", "5 MIN", "15 MIN"), screen.Bold)
	for _, line := range []struct {
		name  string
		trace int
		rate  statsd.Rate
		write func(float64) string
	}{
		{"received", received, s.Rates.Received, short},
		{"sent", sent, s.Rates.Sent, short},
		{"bytes in", bytesIn, s.Rates.BytesReceived, shortBytes},
		{"bytes out", bytesOut, s.Rates.BytesSent, shortBytes},
		{"dropped", dropped, s.Rates.Dropped, short},
		{"connects", connects, s.Rates.Connections, short},
	} {
		now := "-"
		if v, ok := m.traces[line.trace].latest(); ok {
			now = line.write(v)
		}
		text := fmt.Sprintf("%-10s %6s %6s %6s %6s", line.name, now, line.write(line.rate.Min1), line.write(line.rate.Min5), line.write(line.rate.Min15))
		if room := min(m.w-len(text)-2, 60); room >= 4 && y < bottom {
			f.Put(len(text)+2, y, screen.Green, m.traces[line.trace].spark(room, m.ascii))
		}
		put(text, screen.Plain)
	}
	if m.h >= 20 {
		y++
	}
	for _, l := range m.totals() {
		put(fmt.Sprintf("%-10s %s", l.name, l.text), l.style)
	}
}

// total is one line of the overview.
type total struct {
	name, text string
	style      screen.Style
}

// totals are the lines below the rates, the most telling first.
func (m *model) totals() []total {
	s := &m.snap
	lines := []total{
		{name: "clients", text: fmt.Sprintf("%s now, %s at most, %s refused", amount(s.Connections.Current), amount(s.Connections.Maximum), amount(s.Connections.Refused))},
		{name: "dropped", text: m.reasons(s.Dropped)},
		{name: "queued", text: fmt.Sprintf("%s, %s; %s in flight", plural(s.Queued.Messages, "message"), shortBytes(float64(s.Queued.Bytes)), amount(s.Queued.Inflight))},
	}
	if s.Dropped.Total > 0 {
		lines[1].style = screen.Yellow
	}
	memory := total{name: "memory", text: fmt.Sprintf("%s resident", shortBytes(float64(s.Memory.Resident)))}
	if b := s.Budget; b.Bytes > 0 {
		memory.text = fmt.Sprintf("%s of %s (%s), %s", shortBytes(float64(b.Used)), shortBytes(float64(b.Bytes)), m.safe(b.Level), memory.text)
		if b.Pressure > 0 {
			memory.style = screen.Red
		}
	}
	lines = append(lines, memory)
	if len(s.Bridges) > 0 {
		lines = append(lines, m.uplinks(s.Bridges))
	}
	lines = append(lines,
		total{name: "messages", text: fmt.Sprintf("%s in, %s out since the start; %s in, %s out", amount(s.Received.Messages), amount(s.Sent.Messages),
			shortBytes(float64(s.Received.Bytes)), shortBytes(float64(s.Sent.Bytes)))},
		total{name: "delivery", text: delivery(s.Delivery)},
		total{name: "sessions", text: fmt.Sprintf("%s, %s kept for absent clients; %s", amount(s.Sessions.Total), amount(s.Sessions.Kept), plural(s.Subscriptions.Total, "subscription"))},
		total{name: "retained", text: fmt.Sprintf("%s, %s", plural(s.Retained.Messages, "message"), shortBytes(float64(s.Retained.Bytes)))},
	)
	var on []string
	for _, l := range s.Listeners {
		on = append(on, fmt.Sprintf("%s %s (%s)", m.safe(l.Name), m.safe(l.Address), amount(l.Sockets)))
	}
	return append(lines, total{name: "listeners", text: orDash(strings.Join(on, ", "))})
}

func delivery(d statsd.Delivery) string {
	if d.Measured == 0 {
		return "none yet"
	}
	return fmt.Sprintf("half under %s, 99%% under %s", brief(d.P50), brief(d.P99))
}

// reasons says why messages were dropped, the most frequent reason first.
func (m *model) reasons(d statsd.Dropped) string {
	names := slices.SortedFunc(maps.Keys(d.ByReason), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.ByReason[b], d.ByReason[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		if n := d.ByReason[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", m.safe(name), amount(n)))
		}
	}
	text := amount(d.Total)
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

// uplinks says how many are up, and which are not.
func (m *model) uplinks(list []statsd.Bridge) total {
	var waiting int64
	var bad []string
	for i := range list {
		waiting += list[i].Queued.Messages
		if list[i].State != "up" {
			bad = append(bad, m.safe(list[i].Name)+" "+m.safe(list[i].State))
		}
	}
	line := total{name: "uplinks", text: fmt.Sprintf("%d of %d up, %s waiting", len(list)-len(bad), len(list), amount(waiting))}
	if len(bad) > 0 {
		line.text += ": " + strings.Join(bad, ", ")
		line.style = screen.Red
	}
	return line
}
