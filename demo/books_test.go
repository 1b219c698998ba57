package demo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// Books that do not agree are found out, in each way in which they can differ.
func TestBooksFindOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		counts counts
		tally  tally
		fault  string // "": there is none
		note   string
	}{
		{"all agree", counts{sent: 5, read: 3}, tally{published: 5, sent: 3}, "", ""},
		{"one published is not there", counts{sent: 5}, tally{published: 4}, "c published 5, the broker says 4", ""},
		{"one too many is there", counts{sent: 5}, tally{published: 6}, "c published 5, the broker says 6", ""},
		{"one was on its way when the broker stopped", counts{sent: 5, limbo: 1}, tally{published: 4}, "", "c sent 1 message that the broker did not get"},
		{"two are not there, and one was on its way", counts{sent: 5, limbo: 1}, tally{published: 3}, "c published 5, the broker says 3", ""},
		{"one was refused", counts{sent: 5, refused: 1}, tally{published: 4, refused: 1}, "", ""},
		{"one read was never sent", counts{read: 4}, tally{sent: 3}, "c read 4, the broker says 3", ""},
		{"one sent was not read", counts{read: 3}, tally{sent: 4}, "c read 3, the broker says 4", ""},
		{"one sent was read when it came again", counts{read: 3, again: 1}, tally{sent: 4}, "", "c was sent 1 message that it did not read"},
		{"somebody was disconnected", counts{sent: 5, read: 3, broken: 1}, tally{published: 4, sent: 9}, "", "c was disconnected once"},
		{"somebody was disconnected, and more is there", counts{sent: 5, broken: 2}, tally{published: 6}, "c published 5, the broker says 6", "c was disconnected 2 times"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &books{}
			b.enter(&client{id: "c", counts: c.counts}, c.tally)
			if got := strings.Join(b.faults, "; "); got != c.fault {
				t.Errorf("fault %q, want %q", got, c.fault)
			}
			if got := strings.Join(b.notes, "; "); !strings.HasPrefix(got, c.note) || c.note == "" && got != "" {
				t.Errorf("note %q, want %q", got, c.note)
			}
		})
	}
}

// A reader's receipts are compared with what was published, and with what the
// broker says it has lost.
func TestReceipts(t *testing.T) {
	l := &ledger{}
	l.published("plant/a", 5, 1)
	l.published("plant/b", 3, 2)
	l.published("other", 9, 0)
	filters := []wire.Filter{{Filter: "plant/#"}}
	for _, c := range []struct {
		name  string
		got   string // topic and number of each message, as they came
		lost  uint64 // as the broker says
		want  account
		fault string
	}{
		{"all in order", "a1 a2 b1 a3 a4 b2 a5 b3", 0, account{meant: 8, got: 8}, ""},
		{"one is missing", "a1 a2 b1 a3 a5 b2 b3", 0, account{meant: 8, got: 7, missing: 1}, "r misses 1 messages, the broker says it lost 0"},
		{"one is missing, and counted", "a1 a2 b1 a3 a4 b2 b3", 1, account{meant: 8, got: 7, missing: 1}, ""},
		{"a topic is missing", "b1 b2 b3", 5, account{meant: 8, got: 3, missing: 5}, ""},
		{"one is counted, and there", "a1 a2 b1 a3 a4 b2 a5 b3", 1, account{meant: 8, got: 8}, "r misses 0 messages, the broker says it lost 1"},
		{"twice at QoS 1", "a1 a2 a2 a3 a4 a5 b1 b2 b3", 0, account{meant: 8, got: 8, twice1: 1}, ""},
		{"twice at QoS 2", "a1 a2 a3 a4 a5 b1 b2 b2 b3", 0, account{meant: 8, got: 8, twice2: 1}, "r got 1 messages twice at QoS 2"},
		{"out of order", "a1 a3 a2 a4 a5 b1 b2 b3", 0, account{meant: 8, got: 8, disorder: 1}, "r got 1 messages out of order"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reader{client: &client{id: "r", filters: []wire.Filter{{Filter: "far/plant/#"}}}, receipts: &receipts{prefix: "far/"}}
			for m := range strings.FieldsSeq(c.got) {
				r.receipts.take("far/plant/"+m[:1], fmt.Appendf(nil, `{"n":%s,"ts":%d}`, m[1:], time.Now().UnixMicro()))
			}
			r.receipts.take("far/plant/a", []byte("no number"))
			if got := r.receipts.compare(l.matching(filters)); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			g := &gateway{lives: []life{{losses: []statsd.Loss{{Client: "r", Reason: "slow_consumer", Count: c.lost}, {Client: "another", Reason: "expired", Count: 7}}}}}
			b := &books{}
			b.read(r, l, g)
			if got := strings.Join(b.faults, "; "); got != c.fault {
				t.Errorf("fault %q, want %q", got, c.fault)
			}
		})
	}
}

// What a broker says of itself counts as well, and a fault is an error.
func TestUnevenAccounts(t *testing.T) {
	b := &books{lives: 2}
	b.balance("the gateway", statsd.Balance{Accounts: []statsd.Account{{Name: "copies", Difference: 2}, {Name: "others"}}})
	b.balance("nobody", statsd.Balance{})
	if got := strings.Join(b.faults, "; "); got != `the gateway: the account "copies" has a difference of 2; nobody has no accounts` {
		t.Error(got)
	}
	var out bytes.Buffer
	s := &show{narrator: &narrator{out: &out}}
	if err := s.tell(b); !errors.Is(err, ErrUnbalanced) || strings.Contains(out.String(), "The books balance") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestWrap(t *testing.T) {
	text := strings.Repeat("word ", 40)
	for i, line := range strings.Split(wrap(text, 7), "\n") {
		if len(line) > width || i > 0 && !strings.HasPrefix(line, "       word") || i == 0 && len(line) > width-7 {
			t.Errorf("line %d is %q", i, line)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": "''", "/a/b-1.c": "/a/b-1.c", "it's new": `'it'\''s new'`, "plant/#": "'plant/#'", "$x": "'$x'"} {
		if got := quote(in); got != want {
			t.Errorf("%q is quoted as %s, want %s", in, got, want)
		}
	}
}

// On a terminal the line that says how things stand makes room for what is told,
// and is gone at the end.
func TestStatusLine(t *testing.T) {
	var out bytes.Buffer
	n := &narrator{out: &out, terminal: true, begin: time.Now()}
	n.stand("all is well")
	n.stand("all is well")
	n.text("hello")
	n.stand(strings.Repeat("x", 200))
	n.still()
	n.stand("nobody hears this")
	n.text("bye")
	want := clearLine + "all is well" + clearLine + "hello\nall is well" + clearLine + strings.Repeat("x", width-1) + clearLine + "bye\n"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", &out, want)
	}
}

// Who writes to an output that has gone is told so.
func TestOutputGone(t *testing.T) {
	gone := 0
	n := &narrator{out: closed{}, broken: func() { gone++ }}
	n.say("hello")
	if gone != 1 {
		t.Errorf("noticed %d times", gone)
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("closed") }
