package store_test

import (
	"fmt"

	"github.com/synthetism/edgebroker/relay"
)

func debugState(w *world, rec relay.Recovered) {
	for _, s := range rec.Sessions {
		line := fmt.Sprintf("  recovered %s next %d sent %d front", s.Terms.ClientID, s.NextSeq, s.Sent)
		for _, e := range s.Front {
			line += fmt.Sprint(" ", e.Seq)
		}
		line += " chunks"
		for _, c := range s.Chunks {
			line += fmt.Sprintf(" %d-%d(%d)", c.First, c.Last, c.Entries)
		}
		line += " tail"
		for _, e := range s.Tail {
			line += fmt.Sprint(" ", e.Seq)
		}
		w.note("%s", line)
	}
}
