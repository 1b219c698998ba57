package statsd

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// Loss is what one client has missed on one branch of topics for one reason.
type Loss struct {
	Client string    `json:"client"` // "": nobody in particular, or too many to tell apart
	Topic  string    `json:"topic"`  // the first two levels, "" where they are not known
	Reason string    `json:"reason"` // as in Dropped.ByReason
	Count  uint64    `json:"count"`  // messages
	Last   time.Time `json:"last"`   // about when the last of them was lost
}

// SortLosses sorts a list by count, the most first.
func SortLosses(list []Loss) {
	slices.SortFunc(list, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Reason, b.Reason))
	})
}

func (s *Server) getDrops(w http.ResponseWriter, _ *http.Request) {
	list := append([]Loss{}, s.backend.Losses()...)
	SortLosses(list)
	WriteJSON(w, http.StatusOK, list)
}
