package statsd

import (
	"context"
	"net/http"
	"net/url"
)

// BridgeTest says how it went to connect as an uplink would.
type BridgeTest struct {
	Bridge string       `json:"bridge"`
	OK     bool         `json:"ok"` // no step has failed
	Steps  []BridgeStep `json:"steps"`
}

// BridgeStep is a part of that.
type BridgeStep struct {
	Name   string  `json:"name"`
	Result string  `json:"result"`         // "ok", "note" or "failed"
	Took   float64 `json:"took"`           // seconds
	What   string  `json:"what"`           // happened
	Mend   string  `json:"mend,omitempty"` // what to do about it
}

func (s *Server) postBridgeTest(w http.ResponseWriter, r *http.Request) {
	done, err := s.backend.TestBridge(r.Context(), r.PathValue("name"), r.URL.Query().Get("own") == "true")
	if err != nil {
		bridgeError(w, err)
		return
	}
	WriteJSON(w, http.StatusOK, done)
}

// TestBridge connects as the uplink of that name would, beside it, or in its
// place if own is set. The error is ErrNotFound if there is none.
func (c *ControlClient) TestBridge(ctx context.Context, name string, own bool) (BridgeTest, error) {
	q := url.Values{}
	if own {
		q.Set("own", "true")
	}
	return read[BridgeTest](ctx, c, http.MethodPost, "/v1/bridges/"+escapeSegment(name)+"/test", q)
}
