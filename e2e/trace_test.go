package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/internal/brokertest"
	brokerdial "github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/trace"
	"github.com/synthetism/edgebroker/wire"
)

// traced is a trace whose entries have been collected.
type traced struct {
	t    testing.TB
	tr   *trace.Trace
	list []trace.Entry
}

func traceOf(t testing.TB, b *broker, q trace.Query) *traced {
	t.Helper()
	tr, end, err := b.Trace(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return &traced{t: t, tr: tr}
}

// until collects entries until there are n of connections that have ended, and
// returns them in one word each.
func (x *traced) until(ends int) []string {
	x.t.Helper()
	deadline := time.After(brokertest.Patience)
	for {
		n := 0
		for _, e := range x.list {
			if e.What == trace.Ended {
				n++
			}
		}
		if n >= ends {
			return x.words()
		}
		select {
		case <-x.tr.Ready():
			x.list = append(x.list, x.tr.Take()...)
		case <-deadline:
			x.t.Fatalf("%d of %d ends: %q", n, ends, x.words())
		}
	}
}

func (x *traced) words() (out []string) {
	for _, e := range x.list {
		word := e.What
		if e.What == trace.PacketSeen {
			word = e.Direction + " " + e.Packet.Type
			if len(e.Packet.Reasons) > 0 && e.Packet.Reasons[0].Code >= 0x80 {
				word += " " + e.Packet.Reasons[0].Name
			}
			if e.Packet.Answers != nil {
				word += " <- " + e.Packet.Answers.Type
			}
		}
		if e.Conn != 0 {
			word = fmt.Sprintf("#%d %s", e.Conn, word)
		}
		out = append(out, word)
	}
	return out
}

// only are the words of one connection in one direction, whose order is sure.
func only(words []string, begin string) (out []string) {
	for _, w := range words {
		if rest, ok := strings.CutPrefix(w, begin+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

// TestTraceOfAClient lets a client of another make exchange messages at QoS 2
// with itself over every kind of listener, and looks at its trace.
func TestTraceOfAClient(t *testing.T) {
	p := newPKI(t)
	b := start(t, func(c *appliance.Config) {
		withWebSocket(c)
		c.Listeners = append(c.Listeners, p.listener("tls", appliance.ListenTLS), p.listener("wss", appliance.ListenWebSocketTLS))
	})
	for _, url := range []string{b.addr, b.unix, webURL(b), "mqtts://" + b.Addr("tls"), "wss://" + b.Addr("wss") + "/mqtt"} {
		kind, _, _ := strings.Cut(url, ":")
		t.Run(kind, func(t *testing.T) {
			x := traceOf(t, b, trace.Query{Clients: []string{"dev"}, Payload: 100})
			ctx := within(t)
			var conn net.Conn
			var err error
			if brokerdial.Secured(url) {
				conn, err = brokerdial.Secure(ctx, url, brokertest.Patience, p.clientConfig(t, ""))
			} else {
				conn, err = brokerdial.Broker(ctx, url, brokertest.Patience)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan string, 1)
			c := paho.NewClient(paho.ClientConfig{ClientID: "dev", Conn: packets.NewThreadSafeConn(conn),
				OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
					got <- string(p.Packet.Payload)
					return true, nil
				}}})
			if _, err := c.Connect(ctx, &paho.Connect{ClientID: "dev", CleanStart: true, KeepAlive: 600}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "a/#", QoS: 2}}}); err != nil {
				t.Fatal(err)
			}
			big := strings.Repeat("big", 20_000)
			if _, err := c.Publish(ctx, &paho.Publish{Topic: "a/b", QoS: 2, Payload: []byte(big)}); err != nil {
				t.Fatal(err)
			}
			if m := receive(t, "message", got); m != big {
				t.Fatalf("%d bytes have come", len(m))
			}
			// The broker has the last PUBCOMP when it has answered what came after it.
			if _, err := c.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{"a/#"}}); err != nil {
				t.Fatal(err)
			}
			brokertest.WaitFor(t, "the end of the flow", func() bool {
				s, ok := b.Client("dev")
				return ok && s.Inflight == 0
			})
			if err := c.Disconnect(&paho.Disconnect{}); err != nil {
				t.Fatal(err)
			}
			words := slices.DeleteFunc(x.until(1), func(w string) bool { return strings.Contains(w, "PING") }) // when paho likes
			ins, outs := only(words, "#1 in"), only(words, "#1 out")
			slices.Sort(ins) // paho sends what it has to say for either direction in any order
			slices.Sort(outs)
			same(t, "in", ins, []string{"CONNECT", "DISCONNECT", "PUBCOMP <- PUBREL", "PUBLISH", "PUBREC <- PUBLISH", "PUBREL <- PUBREC", "SUBSCRIBE", "UNSUBSCRIBE"})
			same(t, "out", outs, []string{"CONNACK <- CONNECT", "PUBCOMP <- PUBREL", "PUBLISH", "PUBREC <- PUBLISH", "PUBREL <- PUBREC", "SUBACK <- SUBSCRIBE", "UNSUBACK <- UNSUBSCRIBE"})
			for _, e := range x.list {
				if e.Packet != nil && e.Packet.Type == "PUBLISH" && (e.Packet.Payload.Size != len(big) || e.Packet.Payload.Text != big[:100] || e.Packet.Topic != "a/b") {
					t.Errorf("%+v, %+v", e.Packet, e.Packet.Payload)
				}
			}
		})
	}
}

// TestTraceOfTheRefused sees a client that may not come in, its password in no
// form, and then one that may; it begins before there is either.
func TestTraceOfTheRefused(t *testing.T) {
	g := guard(t, "allow any all #\n", []string{"dev"}, nil)
	x := traceOf(t, g.broker, trace.Query{Clients: []string{"dev"}, Payload: 1000})
	const password = "a very wrong password"
	refusedAs(t, g.addr, as(brokertest.Clean(wire.V5, "dev"), "dev", password), wire.BadUserNameOrPassword)
	refusedAs(t, g.addr, as(brokertest.Clean(wire.V311, "dev"), "dev", password), wire.BadUserNameOrPassword)
	g.user(t, "dev").Disconnect()
	same(t, "trace", x.until(3), []string{"began",
		"#1 connection", "#1 in CONNECT", "#1 out CONNACK bad user name or password <- CONNECT", "#1 ended",
		"#2 connection", "#2 in CONNECT", "#2 out CONNACK <- CONNECT", "#2 ended", // a return code of 3.x is 4
		"#3 connection", "#3 in CONNECT", "#3 out CONNACK <- CONNECT", "#3 in DISCONNECT", "#3 ended"})
	doc, err := json.Marshal(x.list)
	if err != nil {
		t.Fatal(err)
	}
	all := string(doc)
	for _, e := range x.list {
		all += e.Text()
	}
	if strings.Contains(all, password) || !strings.Contains(all, fmt.Sprintf(`"passwordSize":%d`, len(password))) {
		t.Error(all)
	}
	if !strings.Contains(all, "bad user name or password (0x04)") {
		t.Errorf("no return code of 3.1.1: %s", all)
	}
}

// TestTraceOfATakeover sees both connections of a client, and why the first ends.
func TestTraceOfATakeover(t *testing.T) {
	b := start(t, nil)
	first := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "dev"))
	x := traceOf(t, b, trace.Query{Clients: []string{"dev"}})
	first.Ping()
	second := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "dev"))
	if r := first.ExpectDisconnect(); r != wire.SessionTakenOver {
		t.Fatal(r)
	}
	second.Disconnect()
	words := x.until(2)
	same(t, "first", only(words, "#1"), []string{"connection", "in PINGREQ", "out PINGRESP <- PINGREQ", "out DISCONNECT session taken over", "ended"})
	same(t, "second", only(words, "#2"), []string{"connection", "in CONNECT", "out CONNACK <- CONNECT", "in DISCONNECT", "ended"})
	if c := x.list[1]; c.What != trace.Connection || !strings.Contains(c.Note, "MQTT 5, since ") {
		t.Errorf("the connection that was there already: %+v", c)
	}
}

// TestTraceOfATopic follows a message from a client to others by its topic,
// though an alias set before the trace stands for it.
func TestTraceOfATopic(t *testing.T) {
	b := start(t, nil)
	sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "sub"))
	sub.Subscribe(1, "#")
	pub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "pub"))
	pub.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("a/b"), Alias: 3})
	sub.ExpectPublish()
	x := traceOf(t, b, trace.Query{Topics: []string{"a/+"}})
	pub.PublishOut(wire.Out{Version: wire.V5, QoS: 1, Alias: 3, Payload: []byte("by alias")})
	sub.ExpectMessage("a/b", "by alias")
	pub.Publish("x/y", "is not traced", 1, false)
	sub.ExpectMessage("x/y", "is not traced")
	pub.Disconnect()
	words := x.until(1)
	same(t, "trace", words[:6], []string{"began", "#1 connection", "#1 in PUBLISH", "#2 connection", "#2 out PUBLISH", "#1 out PUBACK <- PUBLISH"})
	if p := x.list[2].Packet; p.Topic != "" || p.Alias != 3 || p.AliasOf != "a/b" {
		t.Errorf("%+v", p)
	}
}

// TestTraceThatNobodyReads leaves a trace unread, over the control socket and
// within the program: the client that is traced does not notice.
func TestTraceThatNobodyReads(t *testing.T) {
	b := start(t, nil)
	stalled, err := net.Dial("unix", filepath.Join(filepath.Dir(strings.TrimPrefix(b.unix, "unix:")), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	if _, err := stalled.Write([]byte("GET /v1/trace?topic=%23&payload=1000 HTTP/1.1\r\nHost: edgebroker\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	x := traceOf(t, b, trace.Query{Topics: []string{"#"}})
	sub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "sub"))
	sub.Subscribe(0, "t")
	pub := brokertest.Dial(t, b.addr, brokertest.Clean(wire.V311, "pub"))
	const n = 4000
	for i := range n {
		pub.Publish("t", fmt.Sprint(i), 0, false)
		sub.ExpectMessage("t", fmt.Sprint(i))
	}
	x.list = x.tr.Take()
	missed := uint64(0)
	for _, e := range x.list {
		missed += e.Missed
	}
	if shown := uint64(len(x.list)); missed == 0 || shown+missed < 2*n {
		t.Errorf("%d entries, %d missed", shown, missed)
	}
}

// TestTracesEndWithTheBroker does not wait for those who trace.
func TestTracesEndWithTheBroker(t *testing.T) {
	b := start(t, nil)
	x := traceOf(t, b, trace.Query{Clients: []string{"dev"}})
	brokertest.Dial(t, b.addr, brokertest.Clean(wire.V5, "dev"))
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	words := x.until(1)
	same(t, "trace", words[len(words)-2:], []string{"#1 out DISCONNECT server shutting down", "#1 ended"})
}
