package sinks_test

import (
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/sinks"
)

// Each event is a record with a line to read, and fields to search by.
func TestJournalRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	j := sinks.NewJournal(path, slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		event events.Event
		want  []string
	}{
		{events.New(events.Disconnection, "pump 7", events.DisconnectionData{ClientID: "pump 7", Reason: "normal", Duration: 1500 * time.Millisecond, Sent: 3}),
			[]string{"PRIORITY=6", "SYSLOG_IDENTIFIER=edgebroker", "EDGEBROKER_TYPE=disconnection", "EDGEBROKER_SOURCE=pump 7", "EDGEBROKER_CLIENT_ID=pump 7",
				"EDGEBROKER_REASON=normal", "EDGEBROKER_DURATION=1.5", "EDGEBROKER_SENT=3"}},
		{events.New(events.Drop, "", events.DropData{ClientID: "c", Topic: "t", Reason: "queue_full", Count: 5}), []string{"PRIORITY=4", "EDGEBROKER_COUNT=5"}},
		{events.New(events.Drop, "", events.DropData{Topic: "t", Reason: "no_subscribers", Count: 5}), []string{"PRIORITY=6"}},
		{events.New(events.Refusal, "", events.RefusalData{What: "connect"}), []string{"PRIORITY=5", "EDGEBROKER_WHAT=connect"}},
		{events.New("users.created", "app", "just text"), []string{`MESSAGE=users.created data="\"just text\""`, `EDGEBROKER_DATA="just text"`}},
		{events.New("users.created", "app", map[string]any{"MESSAGE\nPRIORITY": 0, "nested": []int{1}}),
			[]string{`MESSAGE=users.created "MESSAGE\nPRIORITY"=0 nested=[1]`, "EDGEBROKER_MESSAGE_PRIORITY=0", "EDGEBROKER_NESTED=[1]", "PRIORITY=6"}},
	} {
		j.Take(tt.event)
		buf := make([]byte, 64<<10)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(string(buf[:n]), "\n")
		for _, want := range append(tt.want, "EDGEBROKER_EVENT="+tt.event.ID) {
			if !slices.Contains(got, want) {
				t.Errorf("no %s in %q", want, got)
			}
		}
		if !strings.HasPrefix(got[0], "MESSAGE="+string(tt.event.Type)+" ") {
			t.Errorf("the line is %q", got[0])
		}
	}
	if err := j.Close(t.Context()); err != nil || j.Counts() != (sinks.Counts{Sent: 6}) {
		t.Errorf("%v, counts %+v", err, j.Counts())
	}
	_ = conn.Close()
	j.Take(event(1))
	if c := j.Counts(); c.Dropped != 1 || c.Errors != 1 {
		t.Errorf("without a journal: %+v", c)
	}
}
