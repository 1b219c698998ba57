package appliance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/systemd"
)

// NewLogger returns a logger that writes to w as c says: one line a record,
// without a character that would move a terminal's cursor, whatever clients
// call themselves; or, if that is where w leads or c says so, to the journal of
// systemd. Its level can be changed by level: see [WithLogLevel].
func NewLogger(c LogConfig, w io.Writer) (log *slog.Logger, level *slog.LevelVar) {
	level = new(slog.LevelVar)
	level.Set(c.Level)
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == LogJSON {
		return slog.New(slog.NewJSONHandler(printable{w}, opts)), level
	}
	text := slog.NewTextHandler(w, opts)
	if f, ok := w.(*os.File); c.Format == LogJournal || c.Format == LogAuto && ok && systemd.IsJournal(f) {
		return slog.New(newJournalHandler(systemd.OpenJournal(systemd.JournalSocket), level, text)), level
	}
	return slog.New(text), level
}

// printable is a writer of JSON that escapes the characters which JSON allows
// and a terminal may obey: DEL, the controls from U+0080 on, those that turn
// the direction of text. They can only stand within strings.
type printable struct{ w io.Writer }

func (p printable) Write(line []byte) (int, error) {
	plain := func(r rune) bool { return r < 0x7F || unicode.IsPrint(r) || r == utf8.RuneError }
	if !bytes.ContainsFunc(line, func(r rune) bool { return !plain(r) }) {
		return p.w.Write(line)
	}
	var out bytes.Buffer
	for _, r := range string(line) {
		if plain(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	if _, err := p.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(line), nil
}

// mochiLog carries what the embedded MQTT server logs. That one logs per
// client what is an event here, and whole packets, payload included, when it
// does not like them: levels go down a step, packets are left out.
type mochiLog struct{ next slog.Handler }

func mochiLevel(l slog.Level) slog.Level {
	if l >= slog.LevelError {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (h mochiLog) Enabled(ctx context.Context, l slog.Level) bool {
	return h.next.Enabled(ctx, mochiLevel(l))
}

func (h mochiLog) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, mochiLevel(r.Level), r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !holdsPacket(a) {
			clean.AddAttrs(a)
		}
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h mochiLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	var clean []slog.Attr
	for _, a := range attrs {
		if !holdsPacket(a) {
			clean = append(clean, a)
		}
	}
	return mochiLog{h.next.WithAttrs(clean)}
}

func (h mochiLog) WithGroup(name string) slog.Handler { return mochiLog{h.next.WithGroup(name)} }

// holdsPacket reports whether a is one of the attributes in which the server
// logs a packet.
func holdsPacket(a slog.Attr) bool { return a.Key == "pk" || a.Key == "packet" }
