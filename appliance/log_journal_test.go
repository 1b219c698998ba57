package appliance

import (
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/synthetism/edgebroker/systemd"
)

func TestJournalLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var other bytes.Buffer
	level := new(slog.LevelVar)
	log := slog.New(newJournalHandler(systemd.OpenJournal(path), level, slog.NewTextHandler(&other, nil)))
	read := func() []string {
		t.Helper()
		buf := make([]byte, 64<<10)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\n"), "\n")
	}
	for _, tt := range []struct {
		log  func()
		want []string
	}{
		{func() { log.Info("listening", "listener", "lan", "count", 3) },
			[]string{"MESSAGE=listening listener=lan count=3", "PRIORITY=6", "SYSLOG_IDENTIFIER=edgebroker", "EDGEBROKER_LISTENER=lan", "EDGEBROKER_COUNT=3"}},
		{func() { log.With("level", "guarded").Info("short", "msg", "m") },
			[]string{"MESSAGE=short level=guarded msg=m", "PRIORITY=6", "SYSLOG_IDENTIFIER=edgebroker", "EDGEBROKER_LEVEL=guarded", "EDGEBROKER_MSG=m"}},
		{func() { log.Warn("no news") }, []string{"MESSAGE=no news", "PRIORITY=4", "SYSLOG_IDENTIFIER=edgebroker"}},
		{func() {
			log.With("component", "a").WithGroup("g").With("b", 1).Error("bad", slog.Group("h", "c", "x y"), "msg", "m", "level", "l")
		},
			[]string{`MESSAGE=bad component=a g.b=1 g.h.c="x y" g.msg=m g.level=l`, "PRIORITY=3", "SYSLOG_IDENTIFIER=edgebroker", "EDGEBROKER_COMPONENT=a",
				"EDGEBROKER_G_B=1", "EDGEBROKER_G_H_C=x y", "EDGEBROKER_G_MSG=m", "EDGEBROKER_G_LEVEL=l"}},
	} {
		tt.log()
		if got := read(); !slices.Equal(got, tt.want) {
			t.Errorf("got\n%q\nwant\n%q", got, tt.want)
		}
	}
	level.Set(slog.LevelDebug)
	log.Debug("now", "evil", "a\nPRIORITY=0")
	got := strings.Join(read(), "\n")
	if !strings.HasPrefix(got, `MESSAGE=now evil="a\nPRIORITY=0"`+"\nPRIORITY=7\n") || !strings.Contains(got, "\nEDGEBROKER_EVIL\n\x0c\x00\x00\x00\x00\x00\x00\x00a\nPRIORITY=0") {
		t.Errorf("got %q", got)
	}
	_ = conn.Close()
	if log.With("k", "v").Info("kept"); !strings.Contains(other.String(), "msg=kept k=v") || strings.Count(other.String(), "\n") != 1 {
		t.Errorf("without a journal: %q", other.String())
	}
}

// Fields of a record are written nowhere into the names of groups, which all
// records of a logger share.
func TestJournalFieldsLeaveGroups(t *testing.T) {
	groups := []string{"a", "b", "c", "theirs"}
	got := appendJournalFields(nil, groups[:3], slog.Int("ours", 1))
	if want := []systemd.Field{{Name: "EDGEBROKER_A_B_C_OURS", Value: "1"}}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if groups[3] != "theirs" {
		t.Errorf("%q has been written behind the groups", groups[3])
	}
}
