package e2e_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/brokertest"
	"github.com/synthetism/edgebroker/wire"
)

// What clients call themselves, their topics and their users cannot break out
// of their line in the log, or do anything to a terminal.
func TestHostileNamesInLogs(t *testing.T) {
	const secret = "the-password"
	names := []string{
		"a\r\ntime=2026-01-01T00:00:00Z level=ERROR msg=forged", "a\nlevel=ERROR\n", "\x1b[2J\x1b]0;title\x07", "a\x7f\u0085\u009b31m\U000e0001",
		"\u202eright to left\u2028and a new line\u2029", `quote " and \ and {"json":1}`, strings.Repeat("long\n", 12_000),
	}
	for _, format := range []appliance.LogFormat{appliance.LogText, appliance.LogJSON} {
		t.Run(string(format), func(t *testing.T) {
			out := new(brokertest.Log)
			log, _ := appliance.NewLogger(appliance.LogConfig{Level: slog.LevelDebug, Format: format}, out)
			b := start(t, func(c *appliance.Config) { c.Listeners[1].AllowAnonymous = new(bool) },
				appliance.WithLogger(log), appliance.WithAuthMethod(newObedient()))
			b.On("connection", func(events.Event) { panic("a handler that breaks\x1b[2J") })
			for _, v := range every {
				for _, name := range names {
					insult(t, b, v, name, secret)
				}
			}
			brokertest.WaitFor(t, "everybody to be gone", func() bool { return b.Stats().ClientCount == 0 })
			written := out.String()
			seen := 0
			for line := range strings.Lines(written) {
				line = strings.TrimSuffix(line, "\n")
				shown := fmt.Sprintf("%.300q", line)
				switch {
				case !utf8.ValidString(line):
					t.Fatalf("not UTF-8: %s", shown)
				case strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }):
					t.Fatalf("holds control characters: %s", shown)
				case strings.Contains(line, secret):
					t.Fatalf("holds the password: %s", shown)
				case format == appliance.LogJSON && !json.Valid([]byte(line)):
					t.Fatalf("not JSON: %s", shown)
				case format == appliance.LogText && !strings.HasPrefix(line, "time="):
					t.Fatalf("not a line of its own: %s", shown)
				}
				if strings.Contains(line, "forged") {
					seen++
				}
			}
			if seen == 0 {
				t.Errorf("no name was logged, so this shows nothing:\n%.2000s", written)
			}
		})
	}
}

// insult does with one name all that may get it logged.
func insult(t *testing.T, b *broker, v wire.Version, name, secret string) {
	t.Helper()
	con := brokertest.Clean(v, name)
	con.HasUsername, con.Username, con.HasPassword, con.Password = true, name[:min(len(name), 1000)], true, []byte(secret)
	brokertest.DialAny(t, b.unix, con).Conn().Close() // refused: nobody may
	first := brokertest.Dial(t, b.addr, con)
	second := brokertest.Dial(t, b.addr, con) // takes over
	first.ExpectClosed()
	second.SubscribeTo(wire.Subscribe{Filters: []wire.Filter{{Filter: name + "/#"}, {Filter: "$share/" + name}}})
	second.PublishOut(wire.Out{QoS: 1, Topic: []byte(name), Payload: []byte(secret)})
	second.Send(frame(0x82, id1, none)) // and is cut off
	second.ExpectClosed()
	third := brokertest.Dial(t, b.addr, con)
	if err := third.Conn().(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	third.Conn().Close() // a reset
	fourth := brokertest.Dial(t, b.addr, con)
	b.Kick(name)
	fourth.ExpectClosed()
	if v == wire.V5 {
		con.HasAuthMethod, con.AuthMethod, con.AuthData = true, name[:min(len(name), 1000)], []byte(secret)
		turnedAway(t, begin(t, b.addr, con), wire.BadAuthMethod)
		con.AuthMethod = obedientName
		turnedAway(t, begin(t, b.addr, con), wire.NotAuthorized)
	}
}
