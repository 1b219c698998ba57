package systemd_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/synthetism/edgebroker/systemd"
)

// journald is the other side.
func journald(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// record reads one, as journald does.
func record(t testing.TB, conn *net.UnixConn) (fields []systemd.Field) {
	t.Helper()
	buf := make([]byte, 1<<20)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	for rest := string(buf[:n]); rest != ""; {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			t.Fatalf("a line without end: %q", rest)
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			fields, rest = append(fields, systemd.Field{Name: name, Value: value}), after
			continue
		}
		size := binary.LittleEndian.Uint64([]byte(after[:8]))
		value := after[8:][:size]
		if after[8+size] != '\n' {
			t.Fatalf("no line ends after the value of %s", line)
		}
		fields, rest = append(fields, systemd.Field{Name: line, Value: value}), after[8+size+1:]
	}
	return fields
}

// Whatever values hold, they arrive as they are, and no field can be smuggled in.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	conn, j := journald(t, path), systemd.OpenJournal(path)
	defer j.Close()
	rapid.Check(t, func(r *rapid.T) {
		want := []systemd.Field{{Name: "MESSAGE", Value: rapid.String().Draw(r, "message")}}
		for i := range rapid.IntRange(0, 4).Draw(r, "fields") {
			want = append(want, systemd.Field{Name: fmt.Sprint("F", i), Value: rapid.StringOf(rapid.SampledFrom([]rune("a\n=\x00é"))).Draw(r, "value")})
		}
		if err := j.Send(want...); err != nil {
			r.Fatal(err)
		}
		if got := record(t, conn); !reflect.DeepEqual(got, want) {
			r.Fatalf("got %q\nwant %q", got, want)
		}
	})
}

func TestJournalBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	conn, j := journald(t, path), systemd.OpenJournal(path)
	defer j.Close()
	long := systemd.Field{Name: "LONG", Value: strings.Repeat("é", 20_000)}
	if err := j.Send(long, long, long, long, long, systemd.Field{Name: "LAST", Value: "x"}); err != nil {
		t.Fatal(err)
	}
	got := record(t, conn)
	if n := len(got); n != 4 || got[n-1].Name != "LAST" {
		t.Errorf("%d fields", n)
	}
	if v := got[0].Value; len(v) > 17_000 || !utf8.ValidString(v) || !strings.HasSuffix(v, "é...") {
		t.Errorf("a value of %d bytes that ends with %q", len(v), v[len(v)-10:])
	}
}

// A journald that is away is an error, one that was started anew is found, and
// one that does not read costs no more than a moment.
func TestJournalAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := systemd.OpenJournal(path)
	defer j.Close()
	f := systemd.Field{Name: "MESSAGE", Value: "x"}
	if j.Send(f) == nil {
		t.Error("no error without a journal")
	}
	for range 2 {
		conn := journald(t, path)
		if err := j.Send(f); err != nil {
			t.Fatal(err)
		}
		if got := record(t, conn); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		_ = conn.Close()
		_ = os.Remove(path)
	}
	journald(t, path)
	var err error
	for i := 0; err == nil && i < 100_000; i++ {
		err = j.Send(f)
	}
	if err == nil {
		t.Error("a journal that does not read takes everything")
	}
}

func TestFieldName(t *testing.T) {
	for want, words := range map[string][]string{
		"CLIENT_ID": {"clientId"}, "EDGEBROKER_CLIENT_ID": {"edgebroker", "clientId"}, "A_B_C": {"a b.c"}, "URL": {"url"}, "QO_S": {"qoS"},
		"X": {"__x"}, "FIELD": {"éé", ""}, "N1": {"9n1"},
	} {
		if got := systemd.FieldName(words...); got != want {
			t.Errorf("%q is %s, want %s", words, got, want)
		}
	}
	if got := systemd.FieldName(strings.Repeat("x", 100)); len(got) != 64 {
		t.Errorf("a name of %d bytes", len(got))
	}
}

func TestIsJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	for value, want := range map[string]bool{
		"": false, "x": false, "1:": false, fmt.Sprintf("%d:%d", st.Dev, st.Ino): true, fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false,
	} {
		t.Setenv("JOURNAL_STREAM", value)
		if got := systemd.IsJournal(f); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
