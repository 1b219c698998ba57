package top

import (
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/screen"
	"github.com/synthetism/edgebroker/statsd"
)

// What the model is told, beside keys. Each says when.
type (
	// counters have come.
	counters struct {
		at   time.Time
		snap statsd.Snapshot
	}
	// clientList is who is connected.
	clientList struct {
		at   time.Time
		list []statsd.Client
	}
	// topicList is what the broker says about the busiest topics, for a question
	// of depth and order.
	topicList struct {
		at     time.Time
		topics statsd.Topics
		depth  int
		order  string
	}
	// happened are events, the oldest first.
	happened struct{ list []events.Event }
	// trouble: the daemon has not answered what a tab shows, or, if lost is true,
	// it cannot be reached.
	trouble struct {
		at   time.Time
		text string
		lost bool
		tab  int
	}
	// kicked is what became of the wish to disconnect a client.
	kicked struct{ id, problem string }
)

// action is what a key asks of the world outside the model.
type action int

const (
	nothing action = iota
	quit
	suspend
	repaint // everything, since something else has written on the screen
	fetch   // what the tab shows is to be asked for anew
	kick    // the client model.victim
)

// mode is what keys mean.
type mode int

const (
	browsing mode = iota
	filtering
	confirming
	helping
	printing // there are no keys
)

// eventsKept bounds how many events can be looked back at.
const eventsKept = 500

// model is everything that is shown and how. It is changed by one goroutine.
type model struct {
	o      Options
	w, h   int
	ascii  bool // only characters that any terminal has
	now    time.Time
	mode   mode
	tab    int
	tabs   [tabCount]tabState
	notice string // about the latest key, until the next
	victim string // whom to kick

	have     bool // snap holds something
	snap     statsd.Snapshot
	traces   [traceCount]trace
	lost     string // why the daemon cannot be reached
	lostAt   time.Time
	problems [tabCount]string // why what a tab shows is not up to date

	clients  []statsd.Client
	flows    meter // of clients
	topics   statsd.Topics
	busy     meter          // of topics
	depth    int            // of topics, 0: whole ones
	acked    meter          // of uplinks
	events   []events.Event // the latest first
	frozen   []events.Event // what is shown instead while not nil
	messages bool           // events are to be told of messages, too
}

// tabState is where somebody is in a tab.
type tabState struct {
	filter string
	order  int
	key    string // of the selected row
	at     int    // its place
	offset int    // the first row that is shown
}

func newModel(o Options) *model {
	m := &model{o: o, ascii: o.ASCII, tab: o.Tab, w: 80, h: 24, messages: o.Messages}
	if orders := Orders(m.tab); o.Order != "" {
		m.tabs[m.tab].order = max(0, slices.Index(orders, canonical(o.Order)))
	}
	return m
}

// update takes in news.
func (m *model) update(news any) {
	switch n := news.(type) {
	case counters:
		m.now, m.lost = n.at, ""
		m.count(n.snap)
	case clientList:
		m.clients, m.problems[clientsTab] = n.list, ""
		m.flows.begin(n.at)
		for i := range n.list {
			c := &n.list[i]
			m.flows.add(c.ID, c.Received.Messages, c.Sent.Messages)
		}
		m.flows.end()
	case topicList:
		if n.depth != m.depth || n.order != m.order(topicsTab) {
			return // the answer to what was asked before
		}
		m.topics, m.problems[topicsTab] = n.topics, ""
		m.busy.begin(n.at)
		for _, b := range n.topics.Busiest {
			if b.Error == 0 {
				m.busy.add(b.Topic, b.Messages, b.Bytes)
			}
		}
		m.busy.end()
	case happened:
		latest := slices.Clone(n.list)
		slices.Reverse(latest)
		m.events = append(latest, m.events[:min(len(m.events), eventsKept)]...)
		m.events = m.events[:min(len(m.events), eventsKept)]
	case trouble:
		m.now = n.at
		switch {
		case !n.lost:
			m.problems[n.tab] = n.text
		case m.lost == "":
			m.lost, m.lostAt = n.text, n.at
		default:
			m.lost = n.text
		}
	case kicked:
		m.notice = "kicked " + m.safe(n.id)
		if n.problem != "" {
			m.notice = m.safe(n.problem)
		}
	}
}

// count takes in counters.
func (m *model) count(s statsd.Snapshot) {
	// A broker that was started again has counted from zero, perhaps for longer by
	// now than the one before, and one whose counters are no newer has not counted.
	seconds := s.Uptime - m.snap.Uptime
	again := !m.have || seconds <= 0
	for i := range m.traces {
		again = again || counter(i, &s) < counter(i, &m.snap)
	}
	for i := range m.traces {
		if again {
			m.traces[i].gap()
			continue
		}
		m.traces[i].add(float64(counter(i, &s)-counter(i, &m.snap)) / seconds)
	}
	m.acked.begin(s.StartedAt.Add(time.Duration(s.Uptime * float64(time.Second))))
	for i := range s.Bridges {
		b := &s.Bridges[i]
		m.acked.add(b.Name, b.Acked, b.Received.Messages)
	}
	m.acked.end()
	m.snap, m.have = s, true
}

// resize says how large the screen is.
func (m *model) resize(w, h int) { m.w, m.h = w, h }

// order is by what a tab is sorted.
func (m *model) order(tab int) string {
	if orders := Orders(tab); len(orders) > 0 {
		return orders[m.tabs[tab].order]
	}
	return ""
}

// press takes in a key and returns what it asks for.
func (m *model) press(key screen.Key) action {
	switch key {
	case screen.CtrlC:
		return quit
	case screen.CtrlZ:
		return suspend
	case screen.CtrlL:
		return repaint
	}
	m.notice = ""
	switch m.mode {
	case helping:
		m.mode = browsing
		if key == "q" {
			return quit
		}
		return nothing
	case confirming:
		m.mode = browsing
		if key == "y" || key == "Y" {
			m.notice = "kicking " + m.safe(m.victim)
			return kick
		}
		m.notice = "nobody was kicked"
		return nothing
	case filtering:
		m.edit(key)
		return nothing
	}
	return m.browse(key)
}

// edit changes the filter of the tab.
func (m *model) edit(key screen.Key) {
	t := &m.tabs[m.tab]
	switch key {
	case screen.Enter:
		m.mode = browsing
	case screen.Escape:
		t.filter, m.mode = "", browsing
	case screen.CtrlU:
		t.filter = ""
	case screen.Erase:
		if r := []rune(t.filter); len(r) > 0 {
			t.filter = string(r[:len(r)-1])
		}
	default:
		const longest = 100
		if r := []rune(string(key)); len(r) == 1 && len(t.filter) < longest {
			t.filter += string(key)
		}
	}
}

func (m *model) browse(key screen.Key) action {
	t := &m.tabs[m.tab]
	page := max(1, m.rowsVisible()-1)
	switch key {
	case "q":
		return quit
	case "?", "h":
		m.mode = helping
	case "1", "2", "3", "4", "5":
		return m.turnTo(int(key[0] - '1'))
	case screen.Tab, screen.Right:
		return m.turnTo((m.tab + 1) % tabCount)
	case screen.BackTab, screen.Left:
		return m.turnTo((m.tab + tabCount - 1) % tabCount)
	case screen.Up:
		m.move(-1)
	case screen.Down:
		m.move(1)
	case screen.PageUp:
		m.move(-page)
	case screen.PageDown, " ":
		m.move(page)
	case screen.Home, "g":
		m.move(-len(m.rows()))
	case screen.End, "G":
		m.move(len(m.rows()))
	case "s", "S":
		n := len(Orders(m.tab))
		if n == 0 {
			m.notice = "there is nothing to sort by in this tab"
			return nothing
		}
		step := 1
		if key == "S" {
			step = n - 1
		}
		t.order = (t.order + step) % n
		t.key, t.at, t.offset = "", 0, 0
		if m.tab == topicsTab {
			m.busy = meter{}
			return fetch
		}
	case "/":
		if m.tab == overviewTab {
			m.notice = "there is nothing to filter in this tab"
			return nothing
		}
		m.mode = filtering
	case screen.Escape:
		t.filter = ""
	case "k":
		m.askKick()
	case "d":
		if m.tab == topicsTab {
			m.depth = (m.depth + 1) % 5
			m.busy, m.topics = meter{}, statsd.Topics{}
			return fetch
		}
	case "m":
		if m.tab == eventsTab {
			m.messages = !m.messages
			return fetch
		}
	case "p":
		if m.tab == eventsTab {
			if m.frozen == nil {
				m.frozen = append([]events.Event{}, m.events...)
			} else {
				m.frozen = nil
			}
		}
	}
	return nothing
}

// turnTo shows another tab.
func (m *model) turnTo(tab int) action {
	if tab == m.tab {
		return nothing
	}
	m.tab = tab
	return fetch
}

// askKick asks whether the selected client is to be kicked.
func (m *model) askKick() {
	if m.tab != clientsTab {
		m.notice = "clients are kicked in their tab, 2"
		return
	}
	rows := m.rows()
	if len(rows) == 0 {
		m.notice = "there is nobody to kick"
		return
	}
	id := rows[m.place(rows)].key
	for i := range m.clients {
		if m.clients[i].ID == id && !m.clients[i].Connected {
			m.notice = "it is not connected"
			return
		}
	}
	m.victim, m.mode = id, confirming
}

// move selects another row.
func (m *model) move(by int) {
	rows := m.rows()
	if len(rows) == 0 {
		return
	}
	t := &m.tabs[m.tab]
	t.at = min(max(m.place(rows)+by, 0), len(rows)-1)
	t.key = rows[t.at].key
}

// place is where the selected row is among rows, which may have changed: it stays
// with what is selected, and where it was if that is gone. Until somebody selects
// a row it is the first.
func (m *model) place(rows []row) int {
	t := &m.tabs[m.tab]
	if t.key == "" || len(rows) == 0 {
		return 0
	}
	if i := slices.IndexFunc(rows, func(r row) bool { return r.key == t.key }); i >= 0 {
		return i
	}
	return min(t.at, len(rows)-1)
}

// safe is untrusted text as any terminal may be sent it, on one line.
func (m *model) safe(text string) string {
	text = statsd.SafeText(text, 0)
	plain := func(r rune) bool { return screen.Printable(r) && (!m.ascii || r < 0x7f) }
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if plain(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(escaped(r))
		}
	}
	return b.String()
}

// matches reports whether one of texts, as they are shown, has the tab's filter in
// it, whatever the case.
func (m *model) matches(texts ...string) bool {
	want := strings.ToLower(m.tabs[m.tab].filter)
	return want == "" || slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), want) })
}
