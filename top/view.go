package top

import (
	"fmt"
	"strings"

	"github.com/synthetism/edgebroker/internal/screen"
)

// tall is from how many rows on there is room for what can be done without.
const tall = 10

// rowsVisible is how many rows of a table there is room for.
func (m *model) rowsVisible() int {
	rows := m.h - 4 // title, tabs, heading, footer
	if m.h >= tall {
		rows -= 2 // rates, detail
	}
	if m.tab == eventsTab {
		rows++ // no heading
	}
	return max(rows, 0)
}

// view draws everything. It may change which part of a long table is seen.
func (m *model) view() *screen.Frame {
	f := screen.NewFrame(m.w, m.h)
	y := m.title(f)
	switch {
	case m.mode == helping:
		m.help(f, y+1)
	case !m.have:
		m.put(f, y+1, screen.Plain, "waiting for the daemon")
	case m.tab == overviewTab:
		m.overview(f, y+1)
	default:
		m.table(f, y)
	}
	m.footer(f)
	return f
}

// put writes what fits of text into line y, and says so if something does not.
func (m *model) put(f *screen.Frame, y int, style screen.Style, text string) {
	f.Put(0, y, style, screen.Clip(text, m.w, m.more()))
}

// more stands for what has been cut off.
func (m *model) more() string {
	if m.ascii {
		return "~"
	}
	return "…"
}

// title draws the lines above the content and returns the row after them.
func (m *model) title(f *screen.Frame) int {
	clock := ""
	if !m.now.IsZero() && m.w >= 30 {
		clock = m.now.In(m.zone()).Format("15:04:05")
		f.Put(m.w-len(clock), 0, screen.Plain, clock)
	}
	left, style := "edgebroker", screen.Bold
	switch {
	case m.lost != "":
		left, style = fmt.Sprintf("NO ANSWER for %s: %s", span(m.now.Sub(m.lostAt)), m.safe(m.lost)), screen.Bold|screen.Red|screen.Reverse
	case m.have:
		version := m.safe(m.snap.Version) + "  "
		if m.w < 60 {
			version = ""
		}
		left = fmt.Sprintf("edgebroker %sup %s  %s", version, span(seconds(m.snap.Uptime)), plural(m.snap.ClientCount, "client"))
	}
	f.Put(0, 0, style, screen.Clip(left, max(m.w-len(clock)-1, 1), m.more()))
	y := 1
	if m.mode == printing {
		return y
	}
	if m.h >= tall {
		m.summary(f, y)
		y++
	}
	x := 0
	for i, name := range Tabs() {
		label := fmt.Sprintf("%d %s", i+1, name)
		if m.w < 56 && i != m.tab {
			label = fmt.Sprint(i + 1)
		}
		style := screen.Plain
		if i == m.tab {
			style = screen.Reverse
		}
		x = f.Put(x, y, style, " "+label+" ")
	}
	m.condition(f, x, y)
	return y + 1
}

// condition says beside the tabs how the table is narrowed and sorted.
func (m *model) condition(f *screen.Frame, x, y int) {
	t := &m.tabs[m.tab]
	var words []string
	if order := m.order(m.tab); order != "" {
		words = append(words, "by "+order)
	}
	if m.tab == topicsTab && m.depth > 0 {
		words = append(words, plural(m.depth, "level"))
	}
	if m.tab == eventsTab && m.messages {
		words = append(words, "with messages")
	}
	if m.tab == eventsTab && m.frozen != nil {
		words = append(words, "PAUSED")
	}
	if t.filter != "" {
		words = append(words, "/"+m.safe(t.filter))
	}
	text := screen.Clip(strings.Join(words, "  "), m.w-x-1, m.more())
	f.Put(m.w-screen.Width(text), y, screen.Bold, text)
}

// summary draws the line of rates that every tab has.
func (m *model) summary(f *screen.Frame, y int) {
	x := 0
	for _, i := range []int{received, sent, dropped} {
		value := "-"
		if v, ok := m.traces[i].latest(); ok {
			value = short(v)
		}
		text := fmt.Sprintf("%s %5s/s ", [traceCount]string{received: "in", sent: "out", dropped: "dropped"}[i], value)
		room := 0
		if m.w >= 72 {
			room = (m.w - 48) / 3
		}
		if x+len(text)+room > m.w {
			return
		}
		x = f.Put(x, y, screen.Plain, text)
		x = f.Put(x, y, screen.Green, m.traces[i].spark(min(room, 20), m.ascii)) + 2
	}
}

// table draws the tab's table from row y on, and what is said of the selected row.
func (m *model) table(f *screen.Frame, y int) {
	first, columns := m.heading()
	rows, t, visible := m.rows(), &m.tabs[m.tab], m.rowsVisible()
	name, columns := m.fit(columns)
	if first != "" {
		m.line(f, y, name, columns, first, func(i int) string { return columns[i].title }, func(i int) screen.Style {
			if i >= 0 && columns[i].order != "" && columns[i].order == m.order(m.tab) {
				return screen.Bold | screen.Reverse
			}
			return screen.Bold
		})
		y++
	}
	at := m.place(rows)
	t.offset = max(0, min(t.offset, at, len(rows)-visible))
	if at >= t.offset+visible {
		t.offset = at - visible + 1
	}
	for i := 0; i < visible && t.offset+i < len(rows); i++ {
		r := &rows[t.offset+i]
		m.line(f, y+i, name, columns, r.first, func(i int) string { return r.cells[i] }, func(int) screen.Style { return r.style })
		if t.offset+i == at {
			f.Mark(y+i, screen.Reverse)
		}
	}
	if len(rows) == 0 {
		m.put(f, y, screen.Plain, m.nothing())
	}
	if m.h < tall || m.mode == printing {
		return
	}
	text, style := "", screen.Plain
	switch {
	case m.problems[m.tab] != "":
		text, style = m.safe(m.problems[m.tab]), screen.Red|screen.Bold
	case len(rows) > 0:
		text = fmt.Sprintf("%d/%d ", at+1, len(rows))
		if first != "" && screen.Width(rows[at].first) > name {
			text += rows[at].first + ": "
		}
		text += rows[at].detail
	}
	m.put(f, m.h-2, style, text)
}

// nothing says why a table is empty.
func (m *model) nothing() string {
	switch {
	case m.tabs[m.tab].filter != "":
		return "nothing matches the filter; Esc ends it"
	case m.tab == clientsTab && m.clients == nil, m.tab == topicsTab && m.topics.Busiest == nil:
		return "waiting for the daemon"
	case m.tab == bridgesTab:
		return "there are no uplinks; docs/BRIDGES.md says how to make one"
	case m.tab == eventsTab:
		return "nothing has happened yet; m shows messages, too"
	}
	return "there is nothing yet"
}

// fit leaves out the columns, from the last on, for which there is no room, and
// returns how wide the first is.
func (m *model) fit(columns []column) (int, []column) {
	const least, most = 20, 48
	if len(columns) == 0 {
		return m.w, nil
	}
	for n := len(columns); n > 0; n-- {
		rest := m.w
		for _, c := range columns[:n] {
			rest -= c.width + 1
		}
		if rest >= least {
			return min(rest, most), columns[:n]
		}
	}
	return m.w, nil
}

// line draws one line of a table. Column -1 is the first.
func (m *model) line(f *screen.Frame, y, name int, columns []column, first string, cell func(int) string, style func(int) screen.Style) {
	f.Put(0, y, style(-1), screen.Clip(first, name, m.more()))
	x := name
	for i, c := range columns {
		text := screen.Clip(cell(i), c.width, m.more())
		at := x + 1
		if !c.left {
			at += c.width - screen.Width(text)
		}
		f.Put(at, y, style(i), text)
		x += c.width + 1
	}
}

// footer draws the last line: what the keys do, or what is asked.
func (m *model) footer(f *screen.Frame) {
	y := m.h - 1
	switch m.mode {
	case printing:
		return
	case confirming:
		const ask = "? y/n"
		m.put(f, y, screen.Bold, "kick "+screen.Clip(m.safe(m.victim), max(m.w-len(ask)-5, 1), m.more())+ask)
		return
	case filtering:
		// The end is what somebody is typing.
		const rest = "_  Enter: keep, Esc: none"
		text := []rune("/" + m.safe(m.tabs[m.tab].filter))
		room := m.w - 1
		if m.w > 50 {
			room = m.w - len(rest)
		}
		for screen.Width(string(text)) > room && len(text) > 1 {
			text = text[1:]
		}
		m.put(f, y, screen.Bold, string(text)+rest)
		return
	case helping:
		m.put(f, y, screen.Reverse, " any key: back ")
		return
	}
	if m.notice != "" {
		m.put(f, y, screen.Bold, m.notice)
		return
	}
	x := 0
	for _, hint := range m.hints() {
		if x+len(hint) > m.w {
			return
		}
		key, what, _ := strings.Cut(hint, " ")
		x = f.Put(x, y, screen.Bold, key)
		x = f.Put(x, y, screen.Plain, " "+what) + 2
	}
}

// hints are the keys of the tab, the most needed first.
func (m *model) hints() []string {
	hints := []string{"q quit", "? help", "1-5 tab"}
	switch m.tab {
	case clientsTab:
		hints = append(hints, "k kick", "s sort", "/ filter")
	case topicsTab:
		hints = append(hints, "s sort", "/ filter", "d depth")
	case bridgesTab:
		hints = append(hints, "/ filter")
	case eventsTab:
		hints = append(hints, "p pause", "m messages", "/ filter")
	}
	return hints
}

func (m *model) help(f *screen.Frame, y int) {
	for i, line := range []string{
		"1 to 5, Tab, Shift-Tab   another tab",
		"Up, Down, PgUp, PgDn     select a row",
		"g, G, Home, End          first, last row",
		"s, S                     next, last order",
		"/                        filter; Esc ends it",
		"k                        kick a client (asks)",
		"d                        topics: levels",
		"m                        events: messages, too",
		"p                        events: pause",
		"Ctrl-L                   draw anew",
		"Ctrl-Z                   to the shell; fg: back",
		"q, Ctrl-C                quit",
	} {
		if m.w < 50 {
			line = strings.Join(strings.Fields(line), " ")
		}
		if y+i >= m.h-1 {
			return
		}
		m.put(f, y+i, screen.Plain, line)
	}
}
