package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// row is one library in one protocol version on one transport.
type row struct {
	library   *Library
	version   string
	transport string
}

func (r row) String() string { return r.library.Name + ", " + r.version + ", " + r.transport }

// rowsOf is all that the libraries can do, in the order of the table.
func rowsOf(libraries []*Library) []row {
	var out []row
	for _, l := range libraries {
		for _, version := range l.Versions {
			for _, transport := range l.Transports {
				out = append(out, row{l, version, transport})
			}
		}
	}
	return out
}

// testCase is one column of the table.
type testCase struct {
	name  string
	what  string // one sentence for the reader of the table
	only5 bool   // about what MQTT 5 adds
	run   func(*stage)
}

// outcome is one cell.
type outcome struct {
	verdict verdict
	detail  string // why not, unless passed
}

type verdict string

const (
	passed verdict = "pass"
	failed verdict = "FAIL"
	cannot verdict = "n.a."
)

// matrix is what to run and how.
type matrix struct {
	at       Addresses
	rows     []row
	patience time.Duration // for one cell
	parallel int           // rows at a time
	progress io.Writer
}

// run returns when all cells are known; after ctx has ended they fail soon.
func (m *matrix) run(ctx context.Context) *report {
	began := time.Now()
	r := &report{rows: m.rows, cells: make([][]outcome, len(m.rows))}
	turns := make(chan struct{}, m.parallel)
	var all sync.WaitGroup
	var done atomic.Int32
	for i, row := range m.rows {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			for n, c := range cases() {
				r.cells[i] = append(r.cells[i], m.cell(ctx, row, c, fmt.Sprintf("r%dc%d", i, n)))
			}
			fmt.Fprintf(m.progress, "%d/%d %s\n", done.Add(1), len(m.rows), row)
		})
	}
	all.Wait()
	r.took = time.Since(began)
	return r
}

// cell runs one case. name is unique among cells.
func (m *matrix) cell(ctx context.Context, r row, c testCase, name string) (out outcome) {
	if c.only5 && r.version != v5 {
		return outcome{cannot, "MQTT 5 only"}
	}
	ctx, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	s := &stage{ctx: ctx, row: r, at: m.at, name: name}
	defer func() {
		// A case gives up by panicking with a stop.
		if r := recover(); r != nil {
			gaveUp, ok := r.(stop)
			if !ok {
				panic(r)
			}
			out = outcome{failed, gaveUp.err.Error()}
			if errors.Is(gaveUp.err, errCannot) {
				out.verdict = cannot
			}
		}
		s.close()
	}()
	c.run(s)
	return outcome{verdict: passed}
}

// stop is how a case ends early.
type stop struct{ err error }

// stage is what one case works with: clients of the row, and peers.
type stage struct {
	ctx     context.Context
	row     row
	at      Addresses
	name    string
	clients []Client
}

// topic is a topic that only this cell uses.
func (s *stage) topic(levels ...string) string {
	return "interop/" + s.name + "/" + strings.Join(levels, "/")
}

// id is a client id that only this cell uses; 23 letters at most, for 3.1.
func (s *stage) id(name string) string { return s.name + name }

// open makes a client of the row, not connected.
func (s *stage) open(name string, o Options) *actor { return s.openAs(s.row, name, o) }

func (s *stage) openAs(r row, name string, o Options) *actor {
	o.At, o.Version, o.Transport, o.ID = s.at, r.version, r.transport, s.id(name)
	c := r.library.Open(o)
	s.clients = append(s.clients, c)
	return &actor{stage: s, name: name, Client: c}
}

// connect makes a connected client of the row.
func (s *stage) connect(name string) *actor {
	a := s.open(name, Options{})
	a.connect()
	return a
}

func (s *stage) close() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
	defer cancel()
	for _, c := range s.clients {
		_ = c.Disconnect(ctx) // most have gone
	}
}

func (s *stage) check(err error, format string, args ...any) {
	if err != nil {
		panic(stop{fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)})
	}
}

func (s *stage) fail(format string, args ...any) { panic(stop{fmt.Errorf(format, args...)}) }

// actor is a client on a stage. Its methods end the case when they fail.
type actor struct {
	*stage
	name string
	Client
}

func (a *actor) connect() (present bool) {
	present, err := a.Connect(a.ctx)
	a.check(err, "%s: connect", a.name)
	return present
}

func (a *actor) subscribe(qos byte, filters ...string) { a.subscribeID(0, qos, filters...) }

func (a *actor) subscribeID(id int, qos byte, filters ...string) {
	var list []Filter
	for _, f := range filters {
		list = append(list, Filter{f, qos})
	}
	a.check(a.Subscribe(a.ctx, id, list...), "%s: subscribe to %q", a.name, filters)
}

func (a *actor) publish(messages ...Message) {
	a.check(a.Publish(a.ctx, messages...), "%s: publish", a.name)
}

func (a *actor) leave() { a.check(a.Disconnect(a.ctx), "%s: disconnect", a.name) }
func (a *actor) kill()  { a.check(a.Kill(a.ctx), "%s: kill", a.name) }

// next is the next message.
func (a *actor) next() Message {
	select {
	case m := <-a.Messages():
		return m
	case <-a.ctx.Done():
		a.fail("%s: no message came", a.name)
	}
	return Message{}
}

// until is the messages up to one with the payload of end.
func (a *actor) until(end Message) []Message {
	var out []Message
	for {
		select {
		case m := <-a.Messages():
			if m.Payload == end.Payload {
				return out
			}
			out = append(out, m)
		case <-a.ctx.Done():
			a.fail("%s: the last message did not come, %d before it did", a.name, len(out))
		}
	}
}

// expect ends the case unless got is want. Subscription identifiers count
// only where want has some.
func (a *actor) expect(got []Message, want ...Message) {
	if d := difference(got, want); d != "" {
		a.fail("%s: %s", a.name, d)
	}
}

// difference says how got is not want, in order; empty if it is.
func difference(got, want []Message) string {
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		if len(w.Properties.IDs) == 0 {
			g.Properties.IDs = nil
		}
		if !equal(g, w) {
			return fmt.Sprintf("message %d of %d is %s, not %s", i+1, len(want), brief(g), brief(w))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d messages, not %d", len(got), len(want))
	}
	return ""
}

func equal(a, b Message) bool {
	p, q := a.Properties, b.Properties
	return a.Topic == b.Topic && a.Payload == b.Payload && a.QoS == b.QoS && a.Retain == b.Retain &&
		slices.Equal(p.User, q.User) && p.ResponseTopic == q.ResponseTopic && p.CorrelationData == q.CorrelationData &&
		p.ContentType == q.ContentType && p.Text == q.Text && p.Expiry == q.Expiry && slices.Equal(p.IDs, q.IDs)
}

// brief is m for a person, with the middle of long payloads left out.
func brief(m Message) string {
	if n := len(m.Payload); n > 60 {
		m.Payload = fmt.Sprintf("%s...%s (%d bytes)", m.Payload[:20], m.Payload[n-20:], n)
	}
	// As drivers get it: properties that are not set are left out.
	text, err := json.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
