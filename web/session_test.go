package web

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// modelSession is a session as the model sees it.
type modelSession struct {
	token       string
	name        string
	password    string
	begun, used time.Time
	visits      []*visit
}

// sessionModel is sessions as a plain list, beside real ones.
type sessionModel struct {
	t         *testing.T
	accounts  *Accounts
	passwords map[string]string // by name
	list      []*modelSession
}

// sessionStep is one thing that happens.
type sessionStep struct{ What, Which, Span int }

// Sessions do what a plain list of them does, whatever happens in which order.
func TestSessionsLikeAModel(t *testing.T) {
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) sessionStep {
		return sessionStep{rapid.IntRange(0, 9).Draw(t, "what"), rapid.IntRange(0, 99).Draw(t, "which"), rapid.IntRange(0, 75).Draw(t, "minutes")}
	}), 1, 80)
	rapid.Check(t, func(rt *rapid.T) {
		list := steps.Draw(rt, "steps")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			m := &sessionModel{t: t, accounts: NewAccounts(), passwords: map[string]string{"a": "0", "b": "0", "c": "0"}}
			m.put()
			for i, s := range list {
				if wrong = m.do(s); wrong == "" {
					wrong = m.compare()
				}
				if wrong != "" {
					wrong = fmt.Sprintf("step %d: %s", i, wrong)
					break
				}
			}
			m.accounts.EndAll()
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func (m *sessionModel) put() {
	var lines []string
	for _, n := range slices.Sorted(maps.Keys(m.passwords)) {
		lines = append(lines, line(n, "x@"+m.passwords[n], ""))
	}
	m.accounts.SetUsers(users(m.t, lines...))
}

func (m *sessionModel) over(s *modelSession) bool {
	now := time.Now()
	return m.passwords[s.name] != s.password || now.Sub(s.begun) >= sessionLife || len(s.visits) == 0 && now.Sub(s.used) >= sessionIdle
}

func (m *sessionModel) sweep() { m.list = slices.DeleteFunc(m.list, m.over) }

// do is one step; it says what the real ones have done otherwise.
func (m *sessionModel) do(step sessionStep) string {
	time.Sleep(time.Millisecond) // no two are used at the same time
	name := []string{"a", "b", "c"}[step.Which%3]
	var s *modelSession
	if len(m.list) > 0 {
		s = m.list[step.Which%len(m.list)]
	}
	switch {
	case step.What < 4:
		return m.open(name)
	case step.What == 4:
		time.Sleep(time.Duration(step.Span) * time.Minute)
	case step.What == 5:
		if old, ok := m.passwords[name]; ok && step.Span%2 == 0 {
			delete(m.passwords, name)
		} else {
			n, _ := strconv.Atoi(old)
			m.passwords[name] = strconv.Itoa(n + step.Span)
		}
		m.put()
		m.sweep()
	case s == nil:
	case step.What == 6:
		m.accounts.end(s.token)
		m.list = slices.DeleteFunc(m.list, func(o *modelSession) bool { return o == s })
	case step.What == 7 && len(s.visits) > 0:
		s.visits[0].leave()
		s.visits, s.used = s.visits[1:], time.Now()
	default:
		ctx, v, ok := m.accounts.resume(m.t.Context(), s.token)
		if ok == m.over(s) {
			return fmt.Sprintf("resume says %v", ok)
		}
		if ok && (v.name != s.name || ctx.Err() != nil) {
			return fmt.Sprintf("the session of %s is that of %s, %v", s.name, v.name, ctx.Err())
		}
		if ok {
			s.visits, s.used = append(s.visits, v), time.Now()
		} else {
			m.list = slices.DeleteFunc(m.list, func(o *modelSession) bool { return o == s })
		}
	}
	return ""
}

func (m *sessionModel) open(name string) string {
	mark, known := m.accounts.users.Mark(name)
	token, ok := m.accounts.open(person{name, Viewer, mark})
	if ok != known {
		return fmt.Sprintf("open says %v", ok)
	}
	if !ok {
		return ""
	}
	m.sweep()
	own := slices.DeleteFunc(slices.Clone(m.list), func(s *modelSession) bool { return s.name != name })
	if len(own) >= maxSessionsPerUser {
		oldest := slices.MinFunc(own, func(a, b *modelSession) int { return a.used.Compare(b.used) })
		m.list = slices.DeleteFunc(m.list, func(s *modelSession) bool { return s == oldest })
	}
	m.list = append(m.list, &modelSession{token: token, name: name, password: m.passwords[name], begun: time.Now(), used: time.Now()})
	return ""
}

// compare says how the real sessions differ from those of the model.
func (m *sessionModel) compare() string {
	for _, s := range m.list {
		key, _ := keyOf(s.token)
		switch real := m.accounts.sessions[key]; {
		case real == nil && !m.over(s):
			return "a session of " + s.name + " is gone"
		case real != nil && real.busy != len(s.visits):
			return fmt.Sprintf("%d requests run in a session of %s, want %d", real.busy, s.name, len(s.visits))
		}
	}
	for _, s := range m.accounts.sessions {
		if !m.accounts.standsLocked(s.person) {
			return "a session of " + s.name + " has outlived its password"
		}
	}
	if n := len(m.accounts.sessions); n > 3*maxSessionsPerUser {
		return fmt.Sprintf("%d sessions", n)
	}
	return ""
}
