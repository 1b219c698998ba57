// Package top shows a running broker on a terminal, live: totals and rates, and
// its clients, topics, uplinks and events. It knows the broker by its control
// socket alone.
//
// A model holds what is shown and what keys mean; it has no clock, terminal or
// connection, so that tests press keys and read the picture. Run puts it between
// a terminal and a broker. What clients have chosen (identifiers, topics, user
// names, payloads) is escaped before it becomes part of the picture.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/screen"
	"github.com/synthetism/edgebroker/statsd"
)

// Daemon is what top asks of a broker; *statsd.ControlClient is one.
type Daemon interface {
	Stats(ctx context.Context) (statsd.Snapshot, error)
	StatsStream(ctx context.Context, interval time.Duration, fn func(statsd.Snapshot) error) error
	Clients(ctx context.Context, order string, top int) ([]statsd.Client, error)
	Topics(ctx context.Context, depth int, order string, top int) (statsd.Topics, error)
	Events(ctx context.Context, f events.Filter, ready func(), fn func(events.Event) error) error
	History(ctx context.Context, p statsd.Past, f events.Filter, fn func(events.Event) error) error
	Kick(ctx context.Context, id string) error
}

// Options are what somebody has asked for.
type Options struct {
	Interval  time.Duration // between two pictures
	Patience  time.Duration // longest wait for an answer of the broker
	Tab       int           // to begin with: an index of Tabs
	Order     string        // of Orders(Tab); empty: the default
	ASCII     bool          // use no characters beyond ASCII
	Color     bool
	Rates     bool // Once looks twice, an interval apart, so that it knows rates
	Messages  bool // show messages among events from the start
	EventText func(events.Event) string
	Zone      *time.Location // of times; nil: local
}

// Once writes one picture of width columns as plain text, for scripts, with all rows
// that there are. It returns the daemon's error as it is.
func Once(ctx context.Context, w io.Writer, d Daemon, o Options, width int) error {
	m := newModel(o)
	m.mode = printing
	if err := m.read(ctx, d); err != nil {
		return err
	}
	if o.Rates {
		if wait(ctx, o.Interval); ctx.Err() != nil {
			return ctx.Err()
		}
		if err := m.read(ctx, d); err != nil {
			return err
		}
	}
	m.resize(width, 8+max(len(m.rows()), len(m.totals())+10))
	_, err := io.WriteString(w, m.view().String())
	return err
}

// read asks once for everything that the tab shows.
func (m *model) read(ctx context.Context, d Daemon) error {
	ctx, cancel := context.WithTimeout(ctx, m.o.Patience)
	defer cancel()
	s, err := d.Stats(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	m.update(counters{now, s})
	switch m.tab {
	case clientsTab, topicsTab:
		news, err := list(ctx, d, m.question())
		if err != nil {
			return err
		}
		m.update(news)
	case eventsTab:
		m.events = nil
		var all happened
		err := d.History(ctx, statsd.Past{Since: now.Add(-recent)}, events.Filter{Types: quietTypes()}, func(e events.Event) error {
			all.list = append(all.list, e)
			all.list = all.list[max(0, len(all.list)-eventsKept):]
			return nil
		})
		if err != nil {
			return err
		}
		m.update(all)
	}
	return nil
}

// live is a model between a broker and a terminal.
type live struct {
	d        Daemon
	m        *model
	term     *screen.Terminal
	group    *errgroup.Group
	painter  screen.Painter
	news     chan any
	keys     chan screen.Key
	ask      chan question
	messages chan bool // whether events are to be told of messages; the latest counts
	signals  chan os.Signal
	late     bool // a list was asked for, and the picture waits for it
}

// Run shows the broker on term until somebody quits, ctx ends or the terminal is
// gone, none of which is an error. A broker that cannot be reached is shown as
// such and tried again. The terminal is given back as it was.
func Run(ctx context.Context, term *screen.Terminal, d Daemon, o Options) (err error) {
	v := &live{d: d, m: newModel(o), term: term, painter: screen.Painter{Color: o.Color}, news: make(chan any),
		keys: make(chan screen.Key), ask: make(chan question, 1), messages: make(chan bool, 1), signals: make(chan os.Signal, 4)}
	signal.Notify(v.signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	defer signal.Stop(v.signals)
	if err := term.Enter(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, term.Leave()) }()

	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	v.group = group
	defer func() {
		cancel()
		if e := group.Wait(); e != nil && !errors.Is(e, io.EOF) && !errors.Is(e, syscall.EIO) {
			err = errors.Join(err, e)
		}
	}()
	group.Go(func() error { return term.Keys(ctx, func(k screen.Key) { hand(ctx, v.keys, k) }) })
	f := &feed{d: d, o: o, tell: func(news any) { hand(ctx, v.news, news) }}
	group.Go(func() error { f.stats(ctx); return nil })
	group.Go(func() error { f.lists(ctx, v.ask); return nil })
	group.Go(func() error { f.happenings(ctx, v.messages); return nil })
	v.messages <- o.Messages
	return v.run(ctx)
}

// hand gives v to c, or drops it when ctx ends.
func hand[T any](ctx context.Context, c chan<- T, v T) {
	select {
	case c <- v:
	case <-ctx.Done():
	}
}

// run draws whenever there is something to see.
func (v *live) run(ctx context.Context) error {
	soon := time.NewTimer(0) // when events are drawn that came on their own
	pending := true
	for {
		draw := true
		select {
		case <-ctx.Done():
			return nil
		case <-soon.C:
			pending = false
		case s := <-v.signals:
			if err := v.signal(s); err != nil {
				return err
			}
		case key := <-v.keys:
			if end, err := v.act(ctx, v.m.press(key)); end || err != nil {
				return err
			}
		case news := <-v.news:
			v.m.update(news)
			switch news.(type) {
			case counters:
				draw = v.late || !v.request() // else with the list that has been asked for
				v.late = !draw
			case happened:
				draw = false
				if v.m.tab == eventsTab && !pending {
					soon.Reset(min(v.m.o.Interval, time.Second))
					pending = true
				}
			default:
				v.late = false
			}
		}
		if draw {
			if err := v.draw(); err != nil {
				return err
			}
		}
	}
}

// request asks for the list of the tab, unless it has none or is being asked for.
func (v *live) request() bool {
	q := v.m.question()
	if q.tab != clientsTab && q.tab != topicsTab {
		return false
	}
	select {
	case v.ask <- q:
		return true
	default:
		return false
	}
}

func (v *live) draw() error {
	v.m.resize(v.term.Size())
	if out := v.painter.Paint(v.m.view()); len(out) > 0 {
		return v.term.Write(out)
	}
	return nil
}

// act does what a key has asked for. end says that this is the end.
func (v *live) act(ctx context.Context, a action) (end bool, err error) {
	switch a {
	case quit:
		return true, nil
	case repaint:
		v.painter.Forget()
	case suspend:
		return false, v.suspend(0)
	case fetch:
		v.request()
		select { // what waits there is out of date
		case <-v.messages:
		default:
		}
		v.messages <- v.m.messages
	case kick:
		id := v.m.victim
		v.group.Go(func() error { v.kick(ctx, id); return nil })
	}
	return false, nil
}

func (v *live) kick(ctx context.Context, id string) {
	bounded, cancel := context.WithTimeout(ctx, v.m.o.Patience)
	defer cancel()
	news := kicked{id: id}
	if err := v.d.Kick(bounded, id); err != nil {
		news.problem = fmt.Sprintf("kick %s: %v", id, err)
	}
	hand(ctx, v.news, any(news))
}

// signal obeys a signal to this process.
func (v *live) signal(s os.Signal) error {
	switch s {
	case syscall.SIGTSTP:
		return v.suspend(os.Getpid())
	case syscall.SIGCONT:
		v.painter.Forget()
		return v.term.Enter()
	}
	return nil // the size is looked at whenever something is drawn
}

// suspend gives the terminal back, stops the process, or its group where pid is 0,
// and takes the terminal again when it goes on. Where no shell waits that could
// make it go on, it does not stop.
func (v *live) suspend(pid int) error {
	if !screen.Stoppable() {
		v.m.notice = "there is no shell here to go back to"
		return nil
	}
	if err := v.term.Leave(); err != nil {
		return err
	}
	on := make(chan os.Signal, 1)
	signal.Notify(on, syscall.SIGCONT)
	defer signal.Stop(on)
	// Once it has been listened for, SIGTSTP stops nobody.
	err := syscall.Kill(pid, syscall.SIGSTOP)
	if err == nil {
		<-on
	}
	v.painter.Forget()
	return errors.Join(err, v.term.Enter())
}

// question is what to ask for a tab.
func (m *model) question() question {
	return question{tab: m.tab, depth: m.depth, order: m.order(m.tab)}
}

// problemText is an error on one line.
func problemText(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
