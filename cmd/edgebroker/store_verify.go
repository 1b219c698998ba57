package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/store"
)

// storeDamage is a damage that `store verify` has found: a place in a file, or
// messages that cannot be read.
type storeDamage struct {
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"` // of the place; 0 if unknown
	Reason string `json:"reason"`
	// Replayed: the next start reads it. Else it can hit messages only that
	// wait since long.
	Replayed bool   `json:"replayed"`
	Session  string `json:"session,omitempty"` // whose messages are missing
	Topic    string `json:"topic,omitempty"`   // whose retained message is missing
	Messages int    `json:"messages,omitempty"`
}

func (d *storeDamage) text() string {
	switch {
	case d.Session != "":
		return fmt.Sprintf("session %s: %s %s", d.Session, messages(d.Messages), d.Reason)
	case d.Topic != "":
		return fmt.Sprintf("retained message of %s %s", d.Topic, d.Reason)
	}
	text := journal.Damage{File: d.File, Offset: d.Offset, Bytes: d.Bytes, Reason: d.Reason}.String()
	if !d.Replayed {
		text += " (not read at the start)"
	}
	return text
}

// passes is how often a store that a broker changes is looked at before
// messages count as missing.
const passes = 3

func runStoreVerify(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	dir, err := storeDir(c)
	if err != nil {
		return err
	}
	var contents *store.Contents
	var damage []storeDamage
	for n := range passes {
		quiet := *e
		if n > 0 {
			quiet.stderr = io.Discard // it has been noted
		}
		var holder lockHolder
		if contents, holder, err = inspectStore(&quiet, c, dir); err != nil {
			return err
		}
		if damage, err = damageOf(contents); err != nil {
			return storeFailure(c, dir, err)
		}
		// Messages that have been delivered meanwhile are missing, too.
		if !holder.held || len(damage) == 0 || len(contents.Damage) > 0 {
			break
		}
	}
	if format != "table" {
		if err := writeList(e.stdout, damage, format); err != nil {
			return err
		}
	} else {
		for i := range damage {
			if _, err := fmt.Fprintln(e.stdout, printable(damage[i].text())); err != nil {
				return err
			}
		}
	}
	if torn := contents.Log.Torn; torn.Bytes > 0 {
		e.notef("the end is torn: %d bytes were written and never acknowledged; the next start cuts them off", torn.Bytes)
	}
	if len(damage) > 0 {
		return &failure{code: exitError, err: fmt.Errorf("%s is damaged: %s", dir, things(len(damage), "finding")),
			hint: "the broker starts all the same, with what can be read; `edgebroker store dump` shows that"}
	}
	if format == "table" {
		_, err = fmt.Fprintf(e.stdout, "no damage: %s, %s, %s, %s retained\n",
			things(contents.Log.Segments+contents.Log.Old, "segment"), things(contents.Log.Records+contents.Log.OldRecords, "record"),
			things(len(contents.Sessions), "session"), messages(len(contents.Retained)))
	}
	return err
}

// damageOf is the damaged places of c, then the messages that cannot be read.
func damageOf(c *store.Contents) ([]storeDamage, error) {
	var out []storeDamage
	for _, d := range c.Damage {
		out = append(out, storeDamage{File: d.File, Offset: d.Offset, Bytes: d.Bytes, Reason: d.Reason, Replayed: d.Replayed})
	}
	last := (*store.Session)(nil)
	err := c.Messages(false, nil, func(h store.Held) error {
		switch {
		case h.Missing == 0:
		case h.Session == nil:
			out = append(out, storeDamage{Topic: h.Topic, Messages: 1, Reason: "cannot be read"})
		case h.Session == last:
			out[len(out)-1].Messages += h.Missing
		default:
			last = h.Session
			out = append(out, storeDamage{Session: h.Session.Terms.ClientID, Messages: h.Missing, Reason: "cannot be read"})
		}
		return nil
	})
	return out, err
}
