package appliance_test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/bridge"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// farSide is a broker that does as a test tells it.
type farSide struct {
	t       testing.TB
	l       net.Listener
	connack wire.Connack
	// answer is asked about each packet: what it returns is sent. nil is what a
	// good broker would say, hangUp ends the connection.
	answer func(conn int, f wire.Frame) []byte

	mu    sync.Mutex
	conns int
	nc    net.Conn // the last one
	got   []wire.Publish
	dups  int
	seen  []time.Time // of the CONNECTs
}

var hangUp = []byte{}

func newFarSide(t testing.TB) *farSide {
	return newFarSideAt(t, func(l net.Listener) net.Listener { return l })
}

// newFarSideAt is newFarSide with a listener that wrap makes.
func newFarSideAt(t testing.TB, wrap func(net.Listener) net.Listener) *farSide {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = wrap(l)
	f := &farSide{t: t, l: l}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { f.serve(nc) })
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return f
}

func (s *farSide) serve(nc net.Conn) {
	defer nc.Close()
	s.mu.Lock()
	s.conns++
	conn := s.conns
	s.nc = nc
	s.mu.Unlock()
	r := bufio.NewReader(nc)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		reply := s.reply(conn, f)
		if reply != nil && len(reply) == 0 || f.Type == wire.DISCONNECT {
			return
		}
		if _, err := nc.Write(reply); err != nil {
			return
		}
	}
}

func readFrame(r *bufio.Reader) (wire.Frame, error) {
	var raw []byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return wire.Frame{}, err
		}
		raw = append(raw, b)
		f, n, err := wire.Scan(raw, 0)
		if err != nil {
			return f, err
		}
		if n > 0 {
			return f, nil
		}
	}
}

func (s *farSide) reply(conn int, f wire.Frame) []byte {
	if s.answer != nil {
		if b := s.answer(conn, f); b != nil {
			return b
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Type {
	case wire.CONNECT:
		s.seen = append(s.seen, time.Now())
		return wire.AppendConnack(nil, wire.V5, &s.connack)
	case wire.PUBLISH:
		p, err := wire.DecodePublish(f, wire.V5)
		if err != nil {
			s.t.Errorf("the uplink sends %x: %v", f.Raw, err)
			return hangUp
		}
		if p.Dup {
			s.dups++
		}
		p.Topic, p.Payload = slices.Clone(p.Topic), slices.Clone(p.Payload)
		s.got = append(s.got, p)
		switch p.QoS {
		case 1:
			return wire.AppendAck(nil, wire.PUBACK, wire.V5, p.PacketID, 0)
		case 2:
			return wire.AppendAck(nil, wire.PUBREC, wire.V5, p.PacketID, 0)
		}
	case wire.PUBREL:
		id, _, _ := wire.DecodeAck(f, wire.V5)
		return wire.AppendAck(nil, wire.PUBCOMP, wire.V5, id, 0)
	case wire.PINGREQ:
		return wire.AppendPing(nil, wire.PINGRESP)
	}
	return nil
}

// payloads are those received, in order.
func (s *farSide) payloads() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, p := range s.got {
		list = append(list, string(p.Payload))
	}
	return strings.Join(list, " ")
}

// underFault runs a broker with an uplink to far, and publishes n messages.
func underFault(t *testing.T, far *farSide, n int, qos byte) *appliance.Broker {
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 2})}
	cfg.Bridges[0].AckTimeout = time.Second
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	for i := range n {
		pub.Publish("t", fmt.Sprint(i), qos, false)
	}
	pub.Disconnect()
	return near
}

func numbers(n int) string {
	return strings.Trim(fmt.Sprint(slices.Collect(func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	})), "[]")
}

// once is what was received without what came again.
func once(payloads string) string {
	var list []string
	for _, p := range strings.Fields(payloads) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return strings.Join(list, " ")
}

// A far side that leaves one message without an answer holds nothing up for
// ever: the connection is made anew, and it gets that message again.
func TestUplinkWithoutAnAnswer(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		var swallow sync.Once
		far.answer = func(_ int, f wire.Frame) (reply []byte) {
			if f.Type == wire.PUBLISH {
				if p, _ := wire.DecodePublish(f, wire.V5); string(p.Payload) == "3" {
					swallow.Do(func() { reply = wire.AppendPing(nil, wire.PINGRESP) })
				}
			}
			return reply
		}
		near := underFault(t, far, 10, qos)
		relayed(t, near)
		if got := once(far.payloads()); got != "0 1 2 4 5 6 7 8 9 3" && got != numbers(10) {
			t.Errorf("QoS %d: got %q", qos, got)
		}
		far.mu.Lock()
		if far.conns != 2 || far.dups != 1 && qos == 2 {
			t.Errorf("QoS %d: %d connections, %d messages again", qos, far.conns, far.dups)
		}
		far.mu.Unlock()
		if st := near.Uplinks()[0]; !strings.Contains(st.LastError, "has not answered about a message for 1s") {
			t.Errorf("the last error is %q", st.LastError)
		}
	}
}

// What the far side refuses for now is sent again, in its order, on the same
// connection, and not in a rush.
func TestUplinkRefusedForNow(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		var mu sync.Mutex
		tries := 0
		far.answer = func(_ int, f wire.Frame) []byte {
			if f.Type != wire.PUBLISH {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			p, _ := wire.DecodePublish(f, wire.V5)
			if p.Dup {
				t.Errorf("QoS %d: %s is called a duplicate", qos, p.Payload)
			}
			if string(p.Payload) == "1" {
				tries++
			}
			if string(p.Payload) == "0" || tries > 3 {
				return nil
			}
			return wire.AppendAck(nil, map[byte]wire.Type{1: wire.PUBACK, 2: wire.PUBREC}[qos], wire.V5, p.PacketID, wire.QuotaExceeded)
		}
		near := underFault(t, far, 10, qos)
		relayed(t, near)
		if got := far.payloads(); got != numbers(10) {
			t.Errorf("QoS %d: got %q", qos, got)
		}
		far.mu.Lock()
		if far.conns != 1 {
			t.Errorf("QoS %d: %d connections", qos, far.conns)
		}
		far.mu.Unlock()
		if st := near.Uplinks()[0]; st.Refused != 0 || st.Acked != 10 && qos == 1 {
			t.Errorf("QoS %d: got %+v", qos, st)
		}
	}
}

// What the far side will never take stands in nobody's way, and is counted.
func TestUplinkRefusedForGood(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		far := newFarSide(t)
		far.answer = func(_ int, f wire.Frame) []byte {
			if f.Type == wire.PUBLISH {
				if p, _ := wire.DecodePublish(f, wire.V5); string(p.Payload) == "3" {
					return wire.AppendAck(nil, map[byte]wire.Type{1: wire.PUBACK, 2: wire.PUBREC}[qos], wire.V5, p.PacketID, wire.NotAuthorized)
				}
			}
			return nil
		}
		near := underFault(t, far, 6, qos)
		relayed(t, near)
		if got := far.payloads(); got != "0 1 2 4 5" {
			t.Errorf("QoS %d: got %q", qos, got)
		}
		if st := near.Uplinks()[0]; st.Refused != 1 {
			t.Errorf("QoS %d: %d refused", qos, st.Refused)
		}
		if got := near.Stats().Dropped.ByReason["refused_by_client"]; got != 1 {
			t.Errorf("QoS %d: %d drops", qos, got)
		}
	}
}

// A far side that takes less than this side could send gets what it takes.
func TestUplinkToLimitedFarSide(t *testing.T) {
	for most := range byte(3) {
		far := newFarSide(t)
		far.connack = wire.Connack{HasMaximumQoS: most < 2, MaximumQoS: most % 2, RetainUnavailable: true, ReceiveMaximum: 2, MaximumPacketSize: 200}
		near := underFault(t, far, 5, 2)
		pub := client(t, near, "pub")
		pub.Publish("big", strings.Repeat("x", 500), 2, false)
		pub.Publish("r", "kept", 1, true)
		relayed(t, near)
		brokertest.WaitFor(t, "the last one", func() bool { return strings.HasSuffix(far.payloads(), "kept") })
		if got := far.payloads(); got != numbers(5)+" kept" {
			t.Errorf("maximum QoS %d: got %q", most, got)
		}
		far.mu.Lock()
		for _, p := range far.got {
			if p.QoS > most || p.Retain {
				t.Errorf("maximum QoS %d: got QoS %d, retain %v", most, p.QoS, p.Retain)
			}
		}
		far.mu.Unlock()
		if st := near.Uplinks()[0]; st.Refused != 1 {
			t.Errorf("maximum QoS %d: %d refused", most, st.Refused)
		}
	}
}

// A far side that talks nonsense, hangs up or refuses is tried again, slower
// and slower, and what is wrong is said.
func TestUplinkToBadFarSide(t *testing.T) {
	refusal := wire.AppendConnack(nil, wire.V5, &wire.Connack{Reason: wire.NotAuthorized, ReasonString: "who are you?"})
	for name, tt := range map[string]struct {
		answer func(wire.Frame) []byte
		want   string
	}{
		"hangs up": {func(wire.Frame) []byte { return hangUp }, "the far side has closed the connection"},
		"refuses":  {func(wire.Frame) []byte { return refusal }, "not authorized (\"who are you?\")"},
		"garbage":  {func(wire.Frame) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n" + strings.Repeat("x", 500)) }, "breaks the protocol"},
		"garbage as data": {func(f wire.Frame) []byte {
			return map[bool][]byte{true: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}[f.Type == wire.PUBLISH]
		}, "breaks the protocol"},
	} {
		brokertest.NoLeaks(t)
		far := newFarSide(t)
		far.answer = func(_ int, f wire.Frame) []byte { return tt.answer(f) }
		near := underFault(t, far, 3, 1)
		var st bridge.Status
		brokertest.WaitFor(t, name, func() bool {
			st = near.Uplinks()[0]
			return st.Attempts >= 4 && st.LastError != ""
		})
		if !strings.Contains(st.LastError, tt.want) || st.Queued+st.InFlight != 3 {
			t.Errorf("%s: got %q, %d messages wait", name, st.LastError, st.Queued+st.InFlight)
		}
		t.Logf("%s: %s", name, st.LastError)
	}
}

// An uplink that is kept to a rate loses nothing of what waits, and its order.
func TestUplinkThrottled(t *testing.T) {
	brokertest.NoLeaks(t)
	far := newFarSide(t)
	cfg := config(t)
	cfg.Bridges = []appliance.BridgeConfig{uplinkTo(far.l.Addr().String(), appliance.BridgeTopic{Filter: "#", QoS: 2})}
	cfg.Bridges[0].SendRate, cfg.Bridges[0].SendBytes = 1000, 100*appliance.KiB
	near := launch(t, cfg)
	pub := client(t, near, "pub")
	const n = 300
	for i := range n {
		pub.Publish("t", fmt.Sprint(i), 1, false)
	}
	relayed(t, near)
	if got := far.payloads(); got != numbers(n) {
		t.Errorf("got %q", got)
	}
	balanced(t, near)
}
