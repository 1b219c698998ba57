package main

import (
	"bytes"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// The real broker serves a small crowd. The whole is scripts/many.sh.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the broker")
	}
	binary := brokertest.Build(t)
	var out bytes.Buffer
	args := []string{"--broker", binary, "--data", "--kept", "--retained", "--clients", "300", "--idle", "0s"}
	if code := command(t.Context(), args, &out, &out); code != 0 {
		t.Errorf("exit status %d\n%s", code, &out)
	}
	for _, stage := range []string{"at first", "connected", "subscribed", "delivered", "idle", "answered", "gone", "ok"} {
		if !strings.Contains(out.String(), "\n"+stage) && !strings.HasPrefix(out.String(), stage) {
			t.Errorf("no line %q in\n%s", stage, &out)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"", "--address x", "--pid 1", "--broker x --address x --pid 1", "--broker x --clients 0", "--broker x --idle -1s", "--broker x y", "--nonsense"} {
		var out bytes.Buffer
		if code := command(t.Context(), strings.Fields(args), &out, &out); code != 2 || out.Len() == 0 {
			t.Errorf("%q: exit status %d, %s", args, code, &out)
		}
	}
}

// A broker that gives a client the wrong message, or one too many, is found out.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		topics []string
		want   string
	}{
		"all is well":     {[]string{topic(0)}, "ok"},
		"another's":       {[]string{topic(1)}, "client 0 got"},
		"none at all":     {nil, "got PINGRESP"},
		"one is not read": {[]string{topic(0), topic(0)}, "got PUBLISH instead of PINGRESP"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go serve(l, tc.topics)
			args := []string{"--address", l.Addr().String(), "--pid", strconv.Itoa(os.Getpid()), "--clients", "1", "--idle", "0s"}
			var out bytes.Buffer
			code := command(t.Context(), args, &out, &out)
			if !strings.Contains(out.String(), tc.want) || (code == 0) != (tc.want == "ok") {
				t.Errorf("exit status %d\n%s", code, &out)
			}
		})
	}
}

// serve is a broker for one client, which delivers on topics whatever it publishes.
func serve(l net.Listener, topics []string) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	k := link{conn}
	for {
		f, err := k.read()
		if err != nil {
			return
		}
		var answer []byte
		switch f.Type {
		case wire.CONNECT:
			answer = wire.AppendConnack(nil, version, &wire.Connack{})
		case wire.SUBSCRIBE:
			answer = wire.AppendSuback(nil, version, 1, []wire.Reason{wire.GrantedQoS1})
		case wire.PUBLISH:
			answer = wire.AppendAck(nil, wire.PUBACK, version, 7, wire.Success)
			for i, to := range topics {
				answer = wire.AppendPublish(answer, &wire.Out{Version: version, QoS: 1, Topic: []byte(to), Payload: []byte(to)}, uint16(i+1))
			}
			if topics == nil {
				answer = wire.AppendPing(answer, wire.PINGRESP)
			}
		case wire.PINGREQ:
			answer = wire.AppendPing(nil, wire.PINGRESP)
		case wire.DISCONNECT:
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}
