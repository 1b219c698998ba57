package statsd

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Balance says what has become of every message since the start, at one
// instant: docs/MONITORING.md says how it is read.
type Balance struct {
	Balanced bool      `json:"balanced"` // every Difference is 0
	Accounts []Account `json:"accounts"`
}

// Account is an equation of messages or of copies of them.
type Account struct {
	Name       string   `json:"name"`
	In         []Figure `json:"in"`         // what has come; figures that are 0 may be left out
	Out        []Figure `json:"out"`        // what has become of it
	Difference int64    `json:"difference"` // In less Out
}

// Figure is one number of an Account.
type Figure struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// WriteTable writes the equations for people to read.
func (b Balance) WriteTable(w io.Writer) error {
	var out strings.Builder
	for _, a := range b.Accounts {
		g := group{title: SafeText(a.Name, 0)}
		var in, gone int64
		row := func(sign string, f Figure) {
			g.rows = append(g.rows, [2]string{fmt.Sprintf("%s %14s", sign, count(f.Count)), SafeText(f.Name, 0)})
		}
		for i, f := range a.In {
			row(map[bool]string{true: " ", false: "+"}[i == 0], f)
			in += f.Count
		}
		for i, f := range a.Out {
			row(map[bool]string{true: "=", false: "+"}[i == 0], f)
			gone += f.Count
		}
		if a.Difference != 0 {
			g.rows = append(g.rows, [2]string{fmt.Sprintf("? %14s", count(a.Difference)), fmt.Sprintf("DIFFERENCE: %s have come, %s are accounted for", count(in), count(gone))})
		} else {
			g.rows = append(g.rows, [2]string{fmt.Sprintf("  %14s", "0"), "difference"})
		}
		g.write(&out)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (s *Server) getBalance(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, s.backend.Balance())
}
