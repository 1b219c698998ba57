package appliance

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/synthetism/edgebroker/systemd"
)

// journalHandler sends records to the journal of systemd: with the priority of
// their level, the message and all attributes as the line that journalctl shows,
// and each attribute as a field besides. What the journal does not take goes to
// the other handler.
type journalHandler struct {
	journal *systemd.Journal
	level   slog.Leveler
	other   slog.Handler
	line    *journalLine
	text    slog.Handler // writes the attributes to line
	prefix  []string     // of groups
	fields  []systemd.Field
}

// journalLine is where the attributes of one record are put into words.
type journalLine struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *journalLine) Write(p []byte) (int, error) { return l.buf.Write(p) }

// newJournalHandler sends to j what level lets through.
func newJournalHandler(j *systemd.Journal, level slog.Leveler, other slog.Handler) slog.Handler {
	line := &journalLine{}
	onlyAttrs := func(groups []string, a slog.Attr) slog.Attr { // attributes may have the same keys
		_, isLevel := a.Value.Any().(slog.Level)
		if len(groups) == 0 && (a.Key == slog.LevelKey && isLevel || a.Key == slog.MessageKey && a.Value.String() == "") {
			return slog.Attr{}
		}
		return a
	}
	return &journalHandler{journal: j, level: level, other: other, line: line,
		text: slog.NewTextHandler(line, &slog.HandlerOptions{Level: slog.Level(-100), ReplaceAttr: onlyAttrs})}
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	bare := slog.Record{Level: r.Level} // without time and message
	var fields []systemd.Field
	r.Attrs(func(a slog.Attr) bool {
		bare.AddAttrs(a)
		fields = appendJournalFields(fields, h.prefix, a)
		return true
	})
	h.line.mu.Lock()
	h.line.buf.Reset()
	err := h.text.Handle(ctx, bare)
	message := strings.TrimSpace(r.Message + " " + h.line.buf.String())
	h.line.mu.Unlock()
	if err != nil {
		return err
	}
	all := append([]systemd.Field{
		{Name: "MESSAGE", Value: message},
		{Name: "PRIORITY", Value: strconv.Itoa(priorityOf(r.Level))},
		{Name: "SYSLOG_IDENTIFIER", Value: "edgebroker"},
	}, h.fields...)
	if h.journal.Send(append(all, fields...)...) != nil {
		return h.other.Handle(ctx, r)
	}
	return nil
}

func priorityOf(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return systemd.PriorityError
	case l >= slog.LevelWarn:
		return systemd.PriorityWarning
	case l >= slog.LevelInfo:
		return systemd.PriorityInfo
	}
	return systemd.PriorityDebug
}

// appendJournalFields makes fields of a and, if it is a group, of what is in it.
func appendJournalFields(fields []systemd.Field, prefix []string, a slog.Attr) []systemd.Field {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		name := systemd.FieldName(slices.Concat([]string{"edgebroker"}, prefix, []string{a.Key})...)
		return append(fields, systemd.Field{Name: name, Value: v.String()})
	}
	if a.Key != "" {
		prefix = append(prefix[:len(prefix):len(prefix)], a.Key)
	}
	for _, inner := range v.Group() {
		fields = appendJournalFields(fields, prefix, inner)
	}
	return fields
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.text, next.other = h.text.WithAttrs(attrs), h.other.WithAttrs(attrs)
	next.fields = h.fields[:len(h.fields):len(h.fields)]
	for _, a := range attrs {
		next.fields = appendJournalFields(next.fields, h.prefix, a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.text, next.other = h.text.WithGroup(name), h.other.WithGroup(name)
	next.prefix = append(h.prefix[:len(h.prefix):len(h.prefix)], name)
	return &next
}

var _ io.Writer = (*journalLine)(nil)
