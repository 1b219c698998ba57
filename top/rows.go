package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/internal/screen"
	"github.com/synthetism/edgebroker/statsd"
)

// The tabs.
const (
	overviewTab = iota
	clientsTab
	topicsTab
	bridgesTab
	eventsTab

	tabCount
)

// Tabs names the tabs in their order.
func Tabs() []string { return []string{"overview", "clients", "topics", "bridges", "events"} }

// Orders returns the names by which a tab can be sorted, the default first.
func Orders(tab int) []string {
	switch tab {
	case clientsTab:
		return []string{"rate", "id", "in", "out", "bytes", "queued", "latency", "dropped", "stalls", "connected"}
	case topicsTab:
		return statsd.TopicOrders()
	}
	return nil
}

// canonical is the name of an order that other commands call differently, too.
func canonical(order string) string {
	switch order {
	case "queue":
		return "queued"
	case "drops":
		return "dropped"
	}
	return order
}

// Known reports whether a tab can be sorted by order.
func Known(tab int, order string) bool { return slices.Contains(Orders(tab), canonical(order)) }

// column is one column of a table beside the first.
type column struct {
	title string
	width int
	left  bool
	order string // the order that it shows
}

// row is one line of a table: first is what the first column says, and detail what
// is said of it when it is selected. Everything is safe to show but key.
type row struct {
	key, first string
	cells      []string
	detail     string
	style      screen.Style
}

// heading is the first column's title, and the others.
func (m *model) heading() (string, []column) {
	switch m.tab {
	case clientsTab:
		return "CLIENT", []column{
			{title: "IN/S", width: 6, order: "rate"}, {title: "OUT/S", width: 6, order: "rate"}, {title: "QUEUED", width: 6, order: "queued"},
			{title: "WAITED", width: 6, order: "latency"}, {title: "DROPPED", width: 7, order: "dropped"}, {title: "IN", width: 6, order: "in"},
			{title: "OUT", width: 6, order: "out"}, {title: "FOR", width: 6, order: "connected"}, {title: "STALLS", width: 6, order: "stalls"},
			{title: "BYTES", width: 6, order: "bytes"}, {title: "SUBS", width: 5}, {title: "USER", width: 14, left: true}, {title: "REMOTE", width: 21, left: true},
		}
	case topicsTab:
		return "TOPIC", []column{
			{title: "PER S", width: 6}, {title: "SHARE", width: 6}, {title: "MESSAGES", width: 8, order: "messages"}, {title: "BYTES/S", width: 7},
			{title: "BYTES", width: 7, order: "bytes"}, {title: "ERROR", width: 6},
		}
	case bridgesTab:
		return "UPLINK", []column{
			{title: "STATE", width: 10, left: true}, {title: "FOR", width: 6}, {title: "WAITING", width: 7}, {title: "ACKED/S", width: 7}, {title: "IN/S", width: 6},
			{title: "DROPPED", width: 7}, {title: "DEAD", width: 5}, {title: "FLYING", width: 6}, {title: "ACKED", width: 6}, {title: "IN", width: 6}, {title: "ADDRESS", width: 30, left: true},
		}
	}
	return "", nil
}

// rows are the lines of the tab's table, filtered and sorted.
func (m *model) rows() []row {
	switch m.tab {
	case clientsTab:
		return m.clientRows()
	case topicsTab:
		return m.topicRows()
	case bridgesTab:
		return m.bridgeRows()
	case eventsTab:
		return m.eventRows()
	}
	return nil
}

func (m *model) clientRows() []row {
	list := slices.Clone(m.clients)
	if order := m.order(clientsTab); order != "rate" {
		statsd.SortClients(list, order)
	} else {
		m.sortByRate(list)
	}
	rows := make([]row, 0, len(list))
	for i := range list {
		c := &list[i]
		id, user, remote := m.safe(c.ID), m.safe(c.Username), m.safe(c.Remote)
		if !m.matches(id, user, remote) {
			continue
		}
		r := row{key: c.ID, first: orDash(id)}
		in, out := "-", "-"
		if a, b, ok := m.flows.perSecond(c.ID); ok {
			in, out = short(a), short(b)
		}
		since, where := "away", "not connected; its session waits for it"
		switch {
		case c.Connected && c.ConnectedAt.IsZero():
			since, where = "inside", "a part of the broker"
		case c.Connected:
			since = span(m.now.Sub(c.ConnectedAt))
			where = remote + " on " + m.safe(c.Listener)
		}
		waited := "-"
		if c.WaitedAtLeast {
			waited = ">" + span(seconds(c.Waited))
		} else if c.Waited >= 1 {
			waited = span(seconds(c.Waited))
		}
		if c.Slow {
			r.style = screen.Yellow
		}
		r.cells = []string{in, out, amount(c.Queued.Messages), waited, amount(c.Dropped), amount(c.Received.Messages), amount(c.Sent.Messages), since,
			amount(c.Stalls), shortBytes(float64(c.ReceivedBytes + c.SentBytes)), amount(int64(c.Subscriptions)), orDash(user), orDash(remote)}
		r.detail = fmt.Sprintf("%s%s, MQTT %s, %s, %s in flight", asUser(user), where, m.safe(c.Protocol), plural(c.Subscriptions, "subscription"), amount(c.Inflight))
		if c.Slow {
			r.detail = "does not keep up: " + r.detail
		}
		rows = append(rows, r)
	}
	return rows
}

// sortByRate puts those first that send and receive most at present. Rates that are
// about the same count as equal, so that rows do not change places all the time.
// While no rate is known totals count.
func (m *model) sortByRate(list []statsd.Client) {
	rate := make(map[string]int, len(list))
	for i := range list {
		c := &list[i]
		in, out, ok := m.flows.perSecond(c.ID)
		if !ok && !m.flows.ready() {
			in, out = float64(c.Received.Messages), float64(c.Sent.Messages)
		}
		rate[c.ID] = roughly(in + out)
	}
	slices.SortFunc(list, func(a, b statsd.Client) int {
		return cmp.Or(cmp.Compare(rate[b.ID], rate[a.ID]), cmp.Compare(a.ID, b.ID))
	})
}

func asUser(user string) string {
	if user == "" {
		return ""
	}
	return user + ", "
}

func (m *model) topicRows() []row {
	byBytes := m.order(topicsTab) == "bytes"
	rows := make([]row, 0, len(m.topics.Busiest))
	for _, b := range m.topics.Busiest {
		topic := m.safe(b.Topic)
		if !m.matches(topic) {
			continue
		}
		part, all := b.Messages, m.topics.Messages
		if byBytes {
			part, all = b.Bytes, m.topics.Bytes
		}
		share := "-"
		if all > 0 {
			share = fmt.Sprintf("%.1f%%", 100*float64(part)/float64(all))
		}
		rate, bytes, wrong := "-", "-", "0"
		if a, b, ok := m.busy.perSecond(b.Topic); ok {
			rate, bytes = short(a), shortBytes(b)
		}
		detail := fmt.Sprintf("%d messages, %d bytes of payload", b.Messages, b.Bytes)
		if b.Error > 0 {
			wrong = amount(b.Error)
			what := "messages"
			if byBytes {
				wrong, what = shortBytes(float64(b.Error)), "bytes"
			}
			detail += fmt.Sprintf("; %s may be too high by %d", what, b.Error)
		}
		rows = append(rows, row{key: b.Topic, first: orDash(topic), detail: detail,
			cells: []string{rate, share, amount(b.Messages), bytes, shortBytes(float64(b.Bytes)), wrong}})
	}
	return rows
}

func (m *model) bridgeRows() []row {
	rows := make([]row, 0, len(m.snap.Bridges))
	for i := range m.snap.Bridges {
		b := &m.snap.Bridges[i]
		name, why := m.safe(b.Name), m.safe(b.Why)
		if !m.matches(name, why, m.safe(b.Address)) {
			continue
		}
		acked, in := "-", "-"
		if x, y, ok := m.acked.perSecond(b.Name); ok {
			acked, in = short(x), short(y)
		}
		r := row{key: b.Name, first: name, cells: []string{m.safe(b.State), span(m.now.Sub(b.Since)), amount(b.Queued.Messages), acked, in,
			amount(b.Dropped), amount(b.Dead), amount(b.Inflight), amount(b.Acked), amount(b.Received.Messages), m.safe(b.Address)}}
		switch b.State {
		case "up":
			r.detail = m.safe(b.Address)
			if !b.LastHeard.IsZero() {
				r.detail += ", heard of " + span(m.now.Sub(b.LastHeard)) + " ago"
			}
		case "paused":
			r.style, r.detail = screen.Yellow, "paused; edgebroker bridges resume "+name
		default:
			r.style, r.detail = screen.Red, orDash(why)+" ("+m.safe(b.Address)+")"
		}
		rows = append(rows, r)
	}
	return rows
}

func (m *model) eventRows() []row {
	list := m.events
	if m.frozen != nil {
		list = m.frozen
	}
	rows := make([]row, 0, len(list))
	for _, e := range list {
		kind, text := m.safe(string(e.Type)), m.safe(m.o.EventText(e))
		if !m.matches(kind, text) {
			continue
		}
		at := e.Time.In(m.zone()).Format("15:04:05")
		r := row{key: e.ID, first: at + " " + kind + strings.Repeat(" ", max(0, 13-len(kind))) + " " + text, detail: text}
		switch kind {
		case "drop", "refusal", "slow":
			r.style = screen.Yellow
		}
		rows = append(rows, r)
	}
	return rows
}

func (m *model) zone() *time.Location {
	if m.o.Zone != nil {
		return m.o.Zone
	}
	return time.Local
}
