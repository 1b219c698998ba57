package statsd

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Fleet is the gateways on the NATS systems that this one's uplinks lead to.
type Fleet struct {
	Gateways []FleetGateway `json:"gateways"` // by name
	Unasked  []string       `json:"unasked"`  // uplinks that are down, so that nobody could be asked by them
	Cut      []string       `json:"cut"`      // uplinks by which more was answered than is taken, so that some who answer seem not to
}

// FleetGateway is one gateway as it says it is; the other gateways are believed.
type FleetGateway struct {
	Name     string        `json:"name"`     // sys.node
	ID       string        `json:"id"`       // of what it has stored; of the process, if it stores nothing
	ClientID string        `json:"clientId"` // of the uplink by which it answers
	Version  string        `json:"version"`
	Uptime   float64       `json:"uptime"`   // seconds
	Clients  int64         `json:"clients"`  // connected
	Received float64       `json:"received"` // messages from clients per second, over the last minute
	Sent     float64       `json:"sent"`     // to clients, the same
	Dropped  uint64        `json:"dropped"`  // messages and deliveries lost since it was started
	Uplinks  []FleetUplink `json:"uplinks"`

	// What follows says the gateway that was asked.
	Here     bool      `json:"here,omitempty"` // it is itself
	Via      string    `json:"via,omitempty"`  // its uplink by which this one answered
	Answers  bool      `json:"answers"`        // false: it has answered earlier, and does not now
	LastSeen time.Time `json:"lastSeen"`
}

// FleetUplink is one uplink of a gateway.
type FleetUplink struct {
	Name       string  `json:"name"`
	State      string  `json:"state"`      // as Bridge.State
	Queued     int64   `json:"queued"`     // messages that wait for it
	Unanswered float64 `json:"unanswered"` // seconds since the oldest message was sent that is not acknowledged
}

// Bounds of ?wait=.
const (
	fleetWait    = time.Second
	fleetWaitMin = 10 * time.Millisecond
	fleetWaitMax = 5 * time.Second
)

func (s *Server) getFleet(w http.ResponseWriter, r *http.Request) {
	wait := fleetWait
	if text := r.URL.Query().Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < fleetWaitMin || d > fleetWaitMax {
			WriteError(w, http.StatusBadRequest, "wait is not a duration from 10ms to 5s", "use ?wait=2s")
			return
		}
		wait = d
	}
	WriteJSON(w, http.StatusOK, s.backend.Fleet(r.Context(), wait))
}

// Fleet lists the gateways of the fleet that answer within wait, or have answered
// earlier.
func (c *ControlClient) Fleet(ctx context.Context, wait time.Duration) (Fleet, error) {
	return get[Fleet](ctx, c, "/v1/fleet", url.Values{"wait": {wait.String()}})
}
