package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/internal/link"
	"github.com/synthetism/edgebroker/wire"
)

// The real broker lives through all floods at once, for a moment. The whole is
// scripts/memory.sh.
func TestFloods(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the broker")
	}
	binary := brokertest.Build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	args := []string{"--broker", binary, "--data", "--floods", "all", "--clients", "200", "--pairs", "5", "--time", "3s"}
	if code := command(ctx, args, &out, &out); code != 0 {
		t.Errorf("exit status %d\n%s", code, &out)
	}
	t.Log("\n" + out.String())
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"", "--broker x --floods tide", "--broker x --clients 0", "--broker x --limit 5", "--broker x --time 0s", "--broker x y", "--nonsense"} {
		var out bytes.Buffer
		if code := command(t.Context(), strings.Fields(args), &out, &out); code != 2 || out.Len() == 0 {
			t.Errorf("%q: exit status %d, %s", args, code, &out)
		}
	}
}

// deliver lets a pair's subscriber get messages with these numbers.
func deliver(t *testing.T, acked uint64, numbers ...byte) []string {
	ours, theirs := net.Pipe()
	p := &pair{sub: link.New(ours, wire.V5, replyWait), pub: link.New(ours, wire.V5, replyWait), acked: acked, sent: make([]time.Time, acked)}
	done := make(chan struct{})
	go func() { p.receive(); close(done) }()
	go func() { // what it answers
		var b [512]byte
		for {
			if _, err := theirs.Read(b[:]); err != nil {
				return
			}
		}
	}()
	for i, n := range numbers {
		o := wire.Out{Version: wire.V5, QoS: 1, Topic: []byte("t"), Payload: []byte{0, 0, 0, 0, 0, 0, 0, n}}
		if _, err := theirs.Write(wire.AppendPublish(nil, &o, uint16(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	// When this has been read, all before it has been dealt with.
	if _, err := theirs.Write(wire.AppendPing(nil, wire.PINGRESP)); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.quiet = true
	p.mu.Unlock()
	theirs.Close()
	<-done
	var r result
	(&pairs{list: []*pair{p}}).report(&r)
	return r.wrong
}

// The books notice what must not happen.
func TestBooks(t *testing.T) {
	for name, tc := range map[string]struct {
		acked   uint64
		numbers []byte
		want    string
	}{
		"all is well":         {3, []byte{0, 1, 2}, ""},
		"one more is no harm": {2, []byte{0, 1, 2}, ""},
		"lost":                {3, []byte{0, 1}, "3 messages acknowledged, 2 delivered"},
		"a gap":               {3, []byte{0, 2, 3}, "message 2 came, 1 did not"},
		"twice":               {3, []byte{0, 1, 1, 2}, "message 1 came after 1"},
		"out of order":        {3, []byte{0, 2, 1}, "message 1 came after 2"},
		"nothing":             {0, nil, "nothing was acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(deliver(t, tc.acked, tc.numbers...), "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
