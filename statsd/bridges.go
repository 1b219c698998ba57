package statsd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
)

// Bridge is one uplink: another broker that this one is a client of.
type Bridge struct {
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	ClientID string    `json:"clientId"`      // on the far side
	State    string    `json:"state"`         // "connecting", "up", "stalled", "down" or "paused"
	Why      string    `json:"why,omitempty"` // what is wrong, unless it is up
	Since    time.Time `json:"since"`         // of the state

	LastError   string    `json:"lastError,omitempty"`
	LastErrorAt time.Time `json:"lastErrorAt,omitzero"`
	LastHeard   time.Time `json:"lastHeard,omitzero"` // when the far side last answered about a message

	RoundTripAt time.Time `json:"roundTripAt,omitzero"` // when a message, or a canary, was last answered
	RoundTrip   float64   `json:"roundTrip"`            // seconds that this took
	Canaries    uint64    `json:"canaries"`             // sent since start
	CanaryNote  string    `json:"canaryNote,omitempty"` // what the far side has against canaries

	Attempts uint64 `json:"attempts"` // to connect, since start
	Connects uint64 `json:"connects"` // of these, those that succeeded

	Queued     Store   `json:"queued"`     // waits here
	Inflight   int64   `json:"inflight"`   // sent, and not acknowledged
	Unanswered float64 `json:"unanswered"` // seconds since the oldest of these was sent

	Sent       Count  `json:"sent"`        // to the far side, those that were sent again included
	Acked      uint64 `json:"acked"`       // messages that the far side has taken over
	Retried    uint64 `json:"retried"`     // of Sent, those that may have been sent before
	Duplicates uint64 `json:"duplicates"`  // of Sent, those that the far side says it had: a stream of NATS does, MQTT does not
	Received   Count  `json:"received"`    // from the far side
	Repeated   uint64 `json:"repeated"`    // of Received, those that it may have sent before
	Overrun    uint64 `json:"overrun"`     // came from core NATS, which does not wait, faster than they were taken in, and were lost; not in Received
	Dead       int    `json:"deadLetters"` // of Refused, those that wait for somebody to decide
	Refused    uint64 `json:"refused"`     // messages that the far side never takes
	Loops      uint64 `json:"loops"`       // messages that went no further because they had been here
	Dropped    uint64 `json:"dropped"`     // messages lost by the limits of the queue, expiry or refusal
	Persistent bool   `json:"persistent"`  // what waits survives a restart

	Events *BridgeEvents `json:"events,omitempty"` // only of an uplink in event mode
}

// DeadLetters are messages that the far side of an uplink never takes.
type DeadLetters struct {
	Total   int          `json:"total"`
	Letters []DeadLetter `json:"letters"` // the oldest, at most 100
}

// DeadLetter is one of them.
type DeadLetter struct {
	Topic   string    `json:"topic"` // as it was here
	Why     string    `json:"why"`
	Time    time.Time `json:"time,omitzero"` // when it was given up
	Size    int       `json:"size"`          // bytes of payload
	Payload []byte    `json:"payload"`       // base64 in JSON
}

// BridgeEvents counts what an uplink in event mode says, and hears, of clients
// that come and go.
type BridgeEvents struct {
	Sent     uint64 `json:"sent"`     // to the far side
	Received uint64 `json:"received"` // from there, about clients that are none of this broker's
	Dropped  uint64 `json:"dropped"`  // lost, since there was no connection or they came too fast
	Refused  uint64 `json:"refused"`  // made no sense
}

// DeadLettersDone says what became of dead letters.
type DeadLettersDone struct {
	Bridge string `json:"bridge"`
	Count  int    `json:"count"`
}

// ErrNoBridge is returned by a Backend that is asked for an uplink it does not have.
var ErrNoBridge = errors.New("no such uplink")

func (s *Server) getBridges(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, append([]Bridge{}, s.backend.Bridges()...))
}

func (s *Server) postPause(w http.ResponseWriter, r *http.Request)  { s.pauseBridge(w, r, true) }
func (s *Server) postResume(w http.ResponseWriter, r *http.Request) { s.pauseBridge(w, r, false) }

func (s *Server) pauseBridge(w http.ResponseWriter, r *http.Request, pause bool) {
	name := r.PathValue("name")
	if err := s.backend.PauseBridge(name, pause); err != nil {
		bridgeError(w, err)
		return
	}
	WriteJSON(w, http.StatusOK, Paused{name, pause})
}

// Paused says that an uplink is paused, or not any more.
type Paused struct {
	Bridge string `json:"bridge"`
	Paused bool   `json:"paused"` // now
}

func (s *Server) getDeadLetters(w http.ResponseWriter, r *http.Request) {
	list, err := s.backend.DeadLetters(r.PathValue("name"))
	if err != nil {
		bridgeError(w, err)
		return
	}
	WriteJSON(w, http.StatusOK, list)
}

func (s *Server) postReplay(w http.ResponseWriter, r *http.Request)  { s.endDeadLetters(w, r, true) }
func (s *Server) postDiscard(w http.ResponseWriter, r *http.Request) { s.endDeadLetters(w, r, false) }

func (s *Server) endDeadLetters(w http.ResponseWriter, r *http.Request, replay bool) {
	name := r.PathValue("name")
	n, err := s.backend.EndDeadLetters(name, replay)
	if err != nil {
		bridgeError(w, err)
		return
	}
	WriteJSON(w, http.StatusOK, DeadLettersDone{name, n})
}

func bridgeError(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrNoBridge) {
		WriteError(w, http.StatusNotFound, err.Error(), "/v1/bridges lists them")
		return
	}
	WriteError(w, http.StatusConflict, err.Error(), "those that are left wait for another try")
}

// DeadLetters lists what the far side of an uplink has not taken.
func (c *ControlClient) DeadLetters(ctx context.Context, name string) (DeadLetters, error) {
	return get[DeadLetters](ctx, c, "/v1/bridges/"+escapeSegment(name)+"/dead-letters", nil)
}

// EndDeadLetters sends the dead letters of an uplink again, or discards them, and
// says how many.
func (c *ControlClient) EndDeadLetters(ctx context.Context, name string, replay bool) (int, error) {
	verb := map[bool]string{true: "replay", false: "discard"}[replay]
	done, err := read[DeadLettersDone](ctx, c, http.MethodPost, "/v1/bridges/"+escapeSegment(name)+"/dead-letters/"+verb, nil)
	return done.Count, err
}

// Bridges lists the uplinks, in the order of the configuration.
func (c *ControlClient) Bridges(ctx context.Context) ([]Bridge, error) {
	return get[[]Bridge](ctx, c, "/v1/bridges", nil)
}

// PauseBridge disconnects an uplink until it is resumed, which is PauseBridge
// with false. The error is ErrNotFound if there is none of that name.
func (c *ControlClient) PauseBridge(ctx context.Context, name string, pause bool) error {
	verb := map[bool]string{true: "pause", false: "resume"}[pause]
	body, err := c.do(ctx, http.MethodPost, "/v1/bridges/"+escapeSegment(name)+"/"+verb, nil)
	if err != nil {
		return err
	}
	return body.Close()
}

// bridgeGroup says how the uplinks are. It has no rows where there are none.
func (s Snapshot) bridgeGroup() group {
	g := group{title: "uplinks"}
	now := s.StartedAt.Add(seconds(s.Uptime))
	for i := range s.Bridges {
		b := &s.Bridges[i]
		text := fmt.Sprintf("%s for %s", b.State, span(now.Sub(b.Since)))
		if n := b.Queued.Messages + b.Inflight; n > 0 {
			text += fmt.Sprintf(", %s waiting", humanize.Comma(n))
		}
		if b.Dead > 0 {
			text += fmt.Sprintf(", %s dead letters", humanize.Comma(int64(b.Dead)))
		}
		if b.Why != "" {
			text += ": " + SafeText(b.Why, 0)
		}
		g.rows = append(g.rows, [2]string{SafeText(b.Name, labelWidth), text})
	}
	return g
}

// bridgeTable lists the metrics of uplinks.
func bridgeTable() []metric {
	each := func(kind prometheus.ValueType, name, help string, value func(*Bridge) float64) metric {
		return metric{describe(name, help, "bridge"), kind, func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Bridges {
				emit(value(&s.Bridges[i]), s.Bridges[i].Name)
			}
		}}
	}
	tripped := func(name, help string, value func(*Bridge, time.Time) float64) metric {
		return metric{describe(name, help, "bridge"), prometheus.GaugeValue, func(s *Snapshot, emit func(float64, ...string)) {
			now := s.StartedAt.Add(seconds(s.Uptime))
			for i := range s.Bridges {
				if b := &s.Bridges[i]; !b.RoundTripAt.IsZero() {
					emit(max(0, value(b, now)), b.Name)
				}
			}
		}}
	}
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	ofEvents := func(name, help string, value func(*BridgeEvents) uint64) metric {
		return metric{describe(name, help, "bridge"), c, func(s *Snapshot, emit func(float64, ...string)) {
			for i := range s.Bridges {
				if e := s.Bridges[i].Events; e != nil {
					emit(float64(value(e)), s.Bridges[i].Name)
				}
			}
		}}
	}
	return []metric{
		each(g, "bridge_up", "Whether the far side of an uplink answers: 1, or 0.", func(b *Bridge) float64 {
			if b.State == "up" {
				return 1
			}
			return 0
		}),
		each(g, "bridge_queue_messages", "Messages that wait for an uplink.", func(b *Bridge) float64 { return float64(b.Queued.Messages) }),
		each(g, "bridge_queue_bytes", "Their size, those in flight included.", func(b *Bridge) float64 { return float64(b.Queued.Bytes) }),
		each(g, "bridge_inflight_messages", "Messages that were sent by an uplink and not acknowledged.", func(b *Bridge) float64 { return float64(b.Inflight) }),
		each(g, "bridge_unanswered_seconds", "For how long the far side has not answered about the oldest of them.", func(b *Bridge) float64 { return b.Unanswered }),
		tripped("bridge_round_trip_seconds", "How long it took until the far side had answered the message, or canary, that it answered last.", func(b *Bridge, _ time.Time) float64 { return b.RoundTrip }),
		tripped("bridge_round_trip_age_seconds", "For how long the far side has answered no message and no canary.", func(b *Bridge, now time.Time) float64 { return now.Sub(b.RoundTripAt).Seconds() }),
		each(c, "bridge_canaries_total", "Canaries sent to the far side of an uplink in silence.", func(b *Bridge) float64 { return float64(b.Canaries) }),
		each(c, "bridge_sent_total", "Messages sent by an uplink, those that were sent again included.", func(b *Bridge) float64 { return float64(b.Sent.Messages) }),
		each(c, "bridge_acked_total", "Messages that the far side has taken over.", func(b *Bridge) float64 { return float64(b.Acked) }),
		each(c, "bridge_retried_total", "Messages that were sent again.", func(b *Bridge) float64 { return float64(b.Retried) }),
		each(c, "bridge_duplicates_total", "Messages sent that the far side says it had, as a stream of NATS does.", func(b *Bridge) float64 { return float64(b.Duplicates) }),
		each(c, "bridge_repeated_total", "Messages received that the far side may have sent before.", func(b *Bridge) float64 { return float64(b.Repeated) }),
		each(c, "bridge_received_total", "Messages that came in by an uplink.", func(b *Bridge) float64 { return float64(b.Received.Messages) }),
		each(c, "bridge_overrun_total", "Messages of core NATS, which does not wait, that came faster than they were taken in, and were lost.", func(b *Bridge) float64 { return float64(b.Overrun) }),
		each(c, "bridge_refused_total", "Messages that the far side never takes.", func(b *Bridge) float64 { return float64(b.Refused) }),
		each(g, "bridge_dead_letters", "Messages that the far side never takes, and that wait for somebody to decide.", func(b *Bridge) float64 { return float64(b.Dead) }),
		each(c, "bridge_dropped_total", "Messages lost on the way to the far side.", func(b *Bridge) float64 { return float64(b.Dropped) }),
		each(c, "bridge_attempts_total", "Attempts to connect to the far side.", func(b *Bridge) float64 { return float64(b.Attempts) }),
		ofEvents("bridge_events_sent_total", "Events of clients that an uplink in event mode has sent.", func(e *BridgeEvents) uint64 { return e.Sent }),
		ofEvents("bridge_events_received_total", "Events of clients elsewhere that it has received.", func(e *BridgeEvents) uint64 { return e.Received }),
		ofEvents("bridge_events_dropped_total", "Events of clients that were lost: there was no connection, or they came too fast.", func(e *BridgeEvents) uint64 { return e.Dropped }),
		ofEvents("bridge_events_refused_total", "Events of clients elsewhere that made no sense.", func(e *BridgeEvents) uint64 { return e.Refused }),
		each(c, "bridge_connects_total", "Attempts to connect to the far side that succeeded.", func(b *Bridge) float64 { return float64(b.Connects) }),
	}
}
