package acl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/synthetism/edgebroker/wire"
)

// compileFilter reads a filter in the notation of rules.
func compileFilter(text string) (*filter, error) {
	if len(text) > MaxLineBytes {
		return nil, fmt.Errorf("is longer than %d bytes", MaxLineBytes)
	}
	f := &filter{}
	var (
		model   strings.Builder // the filter with x for names
		cur     level
		plain   strings.Builder // text since the last name of cur
		written strings.Builder // cur as it is written
		percent bool
		bad     error
	)
	flush := func() {
		if plain.Len() > 0 {
			cur.pieces = append(cur.pieces, piece{0, plain.String()})
			plain.Reset()
		}
	}
	endLevel := func() {
		if cur.pieces == nil {
			cur.text = plain.String()
			plain.Reset()
		} else {
			flush()
			cur.text = written.String()
		}
		f.levels, cur = append(f.levels, cur), level{}
		written.Reset()
	}
	err := unescape(text, func(r rune) {
		if percent {
			percent = false
			written.WriteString("%" + string(r))
			switch r {
			case '%':
				plain.WriteByte('%')
				model.WriteByte('%')
			case 'u', 'c':
				flush()
				cur.pieces = append(cur.pieces, piece{name: byte(r)})
				f.user, f.client = f.user || r == 'u', f.client || r == 'c'
				model.WriteByte('x')
			default:
				bad = fmt.Errorf("has %%%c; write %%u for the user, %%c for the client id, %%%% for a percent sign", r)
			}
			return
		}
		switch r {
		case '%':
			percent = true
		case '/':
			model.WriteByte('/')
			endLevel()
		default:
			model.WriteRune(r)
			plain.WriteRune(r)
			written.WriteRune(r)
		}
	}, func() error {
		return errors.New(`has *, which is no wildcard of MQTT; write + for one level, # for all that follow, \* for the character`)
	})
	switch {
	case err != nil:
		return nil, err
	case bad != nil:
		return nil, bad
	case percent:
		return nil, errors.New("ends in a single %; write %% for a percent sign")
	}
	endLevel()
	return f, f.check(model.String())
}

// check looks at the whole filter, of which model is an instance, and marks
// its wildcards.
func (f *filter) check(model string) error {
	if model == "$share" || strings.HasPrefix(model, "$share/") {
		return errors.New("is a shared subscription; rules are about the filter inside, so leave $share/NAME/ off")
	}
	if err := wire.ValidFilter(model); err != nil {
		var e *wire.Error
		if errors.As(err, &e) {
			return errors.New("is no topic filter: " + e.Detail)
		}
		return err
	}
	if len(f.levels) > MaxLevels {
		return fmt.Errorf("has more than %d levels", MaxLevels)
	}
	if model[0] == '$' && f.levels[0].pieces != nil {
		return errors.New("has a name in a level that begins with $; write that level out")
	}
	if n := len(f.levels) - 1; f.levels[n].is("#") {
		f.levels, f.hash = f.levels[:n], true
	}
	for i := range f.levels {
		f.levels[i].plus = f.levels[i].is("+")
	}
	if len(f.levels) == 0 { // # and +/# cover the same topics
		f.levels = []level{{plus: true, text: "+"}}
	}
	f.finish()
	return nil
}

// finish sets what can be known from the levels.
func (f *filter) finish() *filter {
	f.plain = 0
	for f.plain < len(f.levels) && !f.levels[f.plain].plus && f.levels[f.plain].pieces == nil {
		f.plain++
	}
	var b strings.Builder
	for i := range f.plain {
		b.WriteString(f.levels[i].text)
		if i < len(f.levels)-1 {
			b.WriteByte('/')
		}
	}
	f.head = b.String()
	return f
}
