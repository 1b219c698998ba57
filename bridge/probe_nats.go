package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nats is the part of a Probe that speaks NATS.
func (p *probe) nats(ctx context.Context) {
	up := passing(*p.cfg)
	far := &natsFar{up: up, cfg: p.cfg.NATS}
	s := &natsSession{up: up, cfg: p.cfg.NATS, failed: make(chan error, 1)}
	begun := time.Now()
	bounded, cancel := context.WithTimeout(ctx, 2*ProbeTimeout)
	defer cancel()
	if err := far.connect(bounded, s); err != nil {
		what, mend := diagnose(err, p.cfg)
		p.note("login", begun, Failed, cmp.Or(natsWording(err), what), mend)
		return
	}
	defer s.nc.Close()
	if state, err := s.nc.TLSConnectionState(); err == nil {
		p.certificate(begun, state)
	}
	p.note("login", begun, Fine, fmt.Sprintf("server %s, version %s; payloads of up to %d bytes", s.nc.ConnectedServerName(), s.nc.ConnectedServerVersion(), s.nc.MaxPayload()), "")
	p.account(s.nc)
	begun = time.Now()
	if rtt, err := s.nc.RTT(); err == nil {
		p.note("ping", begun, Fine, "a round trip of "+rtt.Round(time.Microsecond).String(), "")
	}
	if s.cfg.Stream != "" {
		p.stream(bounded, s)
	}
	if s.cfg.Retained != "" {
		p.bucket(bounded, s)
	}
}

// account says who the server takes this client for, and what it may do.
func (p *probe) account(nc *nats.Conn) {
	begun := time.Now()
	m, err := nc.Request("$SYS.REQ.USER.INFO", nil, ProbeTimeout/4)
	if err != nil {
		return // an old server, or one that does not let it ask
	}
	type subjects struct {
		Allow []string `json:"allow"`
		Deny  []string `json:"deny"`
	}
	var info struct {
		Data struct {
			User        string `json:"user"`
			Account     string `json:"account"`
			Permissions struct {
				Publish   *subjects `json:"publish"`
				Subscribe *subjects `json:"subscribe"`
			} `json:"permissions"`
		} `json:"data"`
	}
	if json.Unmarshal(m.Data, &info) != nil {
		return
	}
	d := &info.Data
	p.note("account", begun, Fine, fmt.Sprintf("account %s, user %s", cmp.Or(d.Account, "unknown"), cmp.Or(d.User, "unknown")), "")
	may := func(s *subjects, subject string) bool {
		return s == nil || (len(s.Allow) == 0 || covers(s.Allow, subject)) && !covers(s.Deny, subject)
	}
	if p.cfg.NATS.Retained != "" {
		p.bucketRight(func(subject string) bool { return may(d.Permissions.Publish, subject) })
	}
	for i := range p.cfg.Rules {
		r := &p.cfg.Rules[i]
		for _, subject := range FilterSubjects(r.remote()) {
			if r.Direction&Out != 0 && !may(d.Permissions.Publish, subject) {
				p.note("rights", time.Time{}, Noted, fmt.Sprintf("this user may not publish to all of %s", subject), "let it, or correct the rule "+r.local())
			}
			if r.Direction&In != 0 && p.cfg.NATS.Stream == "" && !may(d.Permissions.Subscribe, subject) {
				p.note("rights", time.Time{}, Noted, fmt.Sprintf("this user may not subscribe to all of %s", subject), "let it, or correct the rule "+r.local())
			}
		}
	}
}

// stream says what the stream takes.
func (p *probe) stream(ctx context.Context, s *natsSession) {
	begun := time.Now()
	js, err := s.cfg.jetStream(s.nc)
	var info *jetstream.StreamInfo
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
		defer cancel()
		var stream jetstream.Stream
		if stream, err = js.Stream(ctx, s.cfg.Stream); err == nil {
			info = stream.CachedInfo()
		}
	}
	if err = s.wrong(err); err != nil {
		p.note("stream", begun, Failed, fmt.Sprintf("%q: %s", s.cfg.Stream, natsWording(err)), "")
		return
	}
	c := info.Config
	p.note("stream", begun, Fine, fmt.Sprintf("%q takes %s; %d messages, %d replicas, %s", s.cfg.Stream, strings.Join(c.Subjects, ", "), info.State.Msgs, c.Replicas, c.Storage), "")
	for i := range p.cfg.Rules {
		r := &p.cfg.Rules[i]
		if r.Direction&Out == 0 {
			continue
		}
		for _, subject := range FilterSubjects(r.remote()) {
			if !covers(c.Subjects, subject) {
				p.note("subjects", time.Time{}, Noted, fmt.Sprintf("the stream does not take all of %s: what it does not take becomes a dead letter", subject), "add it to the subjects of the stream, or correct the rule "+r.local())
			}
		}
	}
}
