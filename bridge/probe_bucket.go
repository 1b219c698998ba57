package bridge

import (
	"context"
	"fmt"
	"time"
)

// bucket says how the bucket for retained messages is.
func (p *probe) bucket(ctx context.Context, s *natsSession) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	b, err := openMirror(ctx, s, &mirrorMemory{})
	if err = s.wrong(err); err != nil {
		p.note("bucket", begun, Failed, natsWording(err), "")
		return
	}
	info := b.stream.CachedInfo()
	c := info.Config
	p.note("bucket", begun, Fine, fmt.Sprintf("%q has %d values and marks of deletion; %d replicas, %s", s.cfg.Retained, info.State.NumSubjects, c.Replicas, c.Storage), "")
	note := func(text, mend string) { p.note("bucket", time.Time{}, Noted, text, mend) }
	if !expiresValues(c) {
		note("the bucket does not remove values that have expired: only their headers say that they have", "make it with a history of 1 and a TTL of markers, as docs/NATS.md says")
	}
	if c.MaxAge > 0 && c.SubjectDeleteMarkerTTL == 0 {
		note(fmt.Sprintf("the bucket forgets values after %s, and tells nobody", c.MaxAge), "make it without a TTL, or with a TTL of markers")
	}
}

// bucketRight says whether the user may not write to the bucket, by may.
func (p *probe) bucketRight(may func(subject string) bool) {
	subject := bucketSubjects + p.cfg.NATS.Retained + ".>"
	for i := range p.cfg.Rules {
		if r := &p.cfg.Rules[i]; r.Direction&Out != 0 && r.Retain && !may(subject) {
			p.note("rights", time.Time{}, Noted, "this user may not publish to all of "+subject, "let it, or set retain: false in the rule "+r.local())
			return
		}
	}
}
