package bridge

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// A packet identifier comes round again. What became of an earlier message that
// had it counts no more.
func TestIdentifierComesAgain(t *testing.T) {
	up := &Uplink{cfg: Config{Rules: Rules{{Direction: Out, Filter: "#", QoS: 2}}}, log: slog.New(slog.DiscardHandler), dead: newDead(nil, "$bridge/up")}
	give := func(o *outbox, qos byte, size int) {
		o.Take(relay.Delivery{Message: &relay.Message{Topic: "t", Payload: []byte(strings.Repeat("x", size))}, PacketID: 1, QoS: qos})
	}
	small := newOutbox(up, accepts{maxPacket: 100, maxQoS: 2})
	give(small, 2, 200) // given up
	give(small, 2, 1)
	if small.Send(wire.AppendAck(nil, wire.PUBREL, wire.V5, 1, 0)); len(small.verdict) != 1 {
		t.Errorf("PUBREL has not gone to the far side: %v", small.verdict)
	}
	poor := newOutbox(up, accepts{maxQoS: 1})
	give(poor, 2, 1)
	if got := poor.acked(frame{kind: wire.PUBACK, id: 1, reason: wire.NotAuthorized}); len(got) != 0 || len(poor.verdict) != 1 || poor.verdict[0].kind != wire.PUBREC || poor.verdict[0].dead == nil {
		t.Errorf("PUBACK for QoS 2 became %v and %v", got, poor.verdict)
	}
	give(poor, 1, 1)
	if got := poor.acked(frame{kind: wire.PUBACK, id: 1}); len(got) != 1 || got[0].kind != wire.PUBACK {
		t.Errorf("PUBACK for QoS 1 became %v", got)
	}
}

// A far side that makes this one answer, and does not read the answers, is left
// before they take much memory.
func TestUnreadAnswers(t *testing.T) {
	nc, other := net.Pipe()
	defer other.Close()
	up := &Uplink{line: newConn(nc, writeTimeout, func() {})}
	o := newOutbox(up, accepts{})
	ack := wire.AppendAck(nil, wire.PUBACK, wire.V5, 1, 0)
	for n := 0; n <= maxAnswers; n += len(ack) {
		o.Send(ack)
	}
	<-up.line.closed
	if up.line.why == nil {
		t.Error("no reason is given")
	}
}
