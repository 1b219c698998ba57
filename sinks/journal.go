package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/systemd"
)

// Journal is a Target that hands events to the journal of systemd, each field of
// an event as one of the record: EDGEBROKER_TYPE, EDGEBROKER_CLIENT_ID, and so on.
type Journal struct {
	counters
	journal *systemd.Journal
	log     *slog.Logger
	failing bool // which has been said
}

// NewJournal makes the target. A journal that is not there is tried again with
// the next event.
func NewJournal(path string, log *slog.Logger) *Journal {
	return &Journal{journal: systemd.OpenJournal(path), log: log}
}

// Take implements Target.
func (j *Journal) Take(e events.Event) {
	record, err := journalRecord(e)
	if err == nil {
		err = j.journal.Send(record...)
	}
	if err == nil {
		j.sent.Add(1)
	} else {
		j.errors.Add(1)
		j.dropped.Add(1)
		if !j.failing {
			j.log.Warn("events cannot be handed to the journal, those until it works again are lost", "error", err)
		}
	}
	j.failing = err != nil
}

// journalRecord is the line that journalctl shows, TYPE key=value ..., and fields
// to search by.
func journalRecord(e events.Event) ([]systemd.Field, error) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, err
	}
	fields := []systemd.Field{
		{Name: "MESSAGE"},
		{Name: "PRIORITY", Value: strconv.Itoa(priorityOf(e))},
		{Name: "SYSLOG_IDENTIFIER", Value: "edgebroker"},
		{Name: "EDGEBROKER_TYPE", Value: string(e.Type)},
		{Name: "EDGEBROKER_EVENT", Value: e.ID},
		{Name: "EDGEBROKER_SOURCE", Value: e.Source},
	}
	line := plainText(string(e.Type))
	add := func(key, value string) {
		fields = append(fields, systemd.Field{Name: systemd.FieldName("edgebroker", key), Value: value})
		line += " " + plainText(key) + "=" + plainText(value)
	}
	if !eachMember(data, add) { // of a custom event, which may hold anything
		add("data", string(data))
	}
	fields[0].Value = line
	return fields, nil
}

// eachMember calls add for each member of a JSON object, in its order, and
// reports whether it is one.
func eachMember(object []byte, add func(key, value string)) bool {
	in := json.NewDecoder(bytes.NewReader(object))
	if first, err := in.Token(); err != nil || first != json.Delim('{') {
		return false
	}
	for in.More() {
		key, err := in.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if err != nil || !ok || in.Decode(&value) != nil {
			return true
		}
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		add(name, text)
	}
	return true
}

// plainText is s as one word that neither ends a line nor moves a cursor.
func plainText(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// priorityOf is higher for what somebody should look at.
func priorityOf(e events.Event) int {
	switch d := e.Data.(type) {
	case events.DropData:
		if d.ClientID != "" {
			return systemd.PriorityWarning
		}
	case events.RefusalData:
		return systemd.PriorityNotice
	case events.SlowData:
		if d.State == events.SlowBegins {
			return systemd.PriorityWarning
		}
	case events.BridgeData:
		if d.Why != "" {
			return systemd.PriorityWarning
		}
	}
	return systemd.PriorityInfo
}

// Reopen implements Target.
func (j *Journal) Reopen() {}

// Counts implements Target.
func (j *Journal) Counts() Counts { return j.counts() }

// Close implements Target.
func (j *Journal) Close(context.Context) error {
	j.journal.Close()
	return nil
}
