package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsSession is one connection to a NATS system.
type natsSession struct {
	up      *Uplink
	cfg     *NATS
	nc      *nats.Conn
	stream  jetstream.Stream // nil without JetStream
	out     *natsOut
	in      *natsIn
	control *control
	fleet   *fleet
	kept    *mirrorMemory
	bucket  *mirror // nil without one
	failed  chan error
	ctx     context.Context // ends with it
	end     context.CancelFunc
	tasks   sync.WaitGroup
	asking  atomic.Bool // a canary has not been answered
}

// apiTimeout is how long JetStream may take to answer a question.
const apiTimeout = 10 * time.Second

// fail ends the session for a reason; the first counts.
func (s *natsSession) fail(why error) {
	select {
	case s.failed <- why:
	default:
	}
}

// trouble is told what the server, or the client, finds wrong meanwhile.
func (s *natsSession) trouble(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation) && s.harmless(err):
		s.up.complain("uplink: whoever has asked cannot be answered", "error", err)
	case errors.Is(err, nats.ErrPermissionViolation):
		s.fail(err)
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		s.up.log.Warn("uplink: messages come in faster than they are taken, and some are lost", "bridge", s.up.cfg.Name, "subject", sub.Subject)
	default:
		s.up.log.Debug("uplink", "bridge", s.up.cfg.Name, "error", err)
	}
}

// prepare asks for all that the session needs on the far side.
func (s *natsSession) prepare(ctx context.Context) error {
	if s.cfg.Stream != "" {
		js, err := s.cfg.jetStream(s.nc)
		if err != nil {
			return err
		}
		ask, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()
		if s.stream, err = js.Stream(ask, s.cfg.Stream); err != nil {
			return s.wrong(fmt.Errorf("stream %q: %w", s.cfg.Stream, err))
		}
	}
	if s.cfg.Retained != "" {
		var err error
		if s.bucket, err = openMirror(ctx, s, s.kept); err != nil {
			return s.wrong(err)
		}
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.out, s.in = newNatsOut(s), newNatsIn(s)
	if err := s.in.prepare(ctx); err != nil {
		return s.wrong(err)
	}
	return nil
}

// wrong is err, or what the server has said meanwhile that explains it.
func (s *natsSession) wrong(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	select {
	case why := <-s.failed:
		return why
	default:
		return err
	}
}

// begin lets messages pass.
func (s *natsSession) begin() error {
	if err := s.out.listen(); err != nil {
		return err
	}
	if err := s.up.near.attach(s.out, limits{receiveMaximum: uint16(s.cfg.window())}); err != nil {
		return err
	}
	s.out.attached()
	s.tasks.Go(s.out.run)
	if s.up.saysWhoComes() {
		if err := s.control.listen(s); err != nil {
			return err
		}
		s.control.live.Store(s)
	}
	if err := errors.Join(s.fleet.listen(s), s.in.begin()); err != nil {
		return err
	}
	s.bucket.begin()
	return s.nc.FlushTimeout(apiTimeout) // who sees it up finds it listening
}

// drain lets what has come in be acknowledged before the session ends in order.
func (s *natsSession) drain() {
	s.control.settle(drainTimeout)
	if len(s.in.subjects) > 0 {
		s.in.drain(drainTimeout)
	}
	_ = s.nc.FlushTimeout(drainTimeout)
}

const drainTimeout = 2 * time.Second

// close ends the session and waits for what it has started.
func (s *natsSession) close() {
	s.end()
	s.control.live.CompareAndSwap(s, nil)
	s.fleet.over(s)
	s.in.stop()
	s.out.end()
	s.bucket.end()
	s.up.near.detach()
	s.nc.Close()
	s.tasks.Wait()
}

// request puts a question of that name to JetStream.
func (s *natsSession) request(name string, question []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(s.ctx, apiTimeout)
	defer cancel()
	return s.nc.RequestWithContext(ctx, s.cfg.api()+"."+name, question)
}

// lastID is the identifier of the last message that the stream has, or has on
// a subject unless that is empty: empty if there is none, or it has none. The
// leader of the stream is asked, since others may not know it yet.
func (s *natsSession) lastID(subject string) (string, error) {
	question, err := json.Marshal(struct {
		Subject string `json:"last_by_subj"`
	}{cmp.Or(subject, ">")})
	if err != nil {
		return "", err
	}
	reply, err := s.request("STREAM.MSG.GET."+s.cfg.Stream, question)
	if err != nil {
		return "", fmt.Errorf("ask stream %q for its last message: %w", s.cfg.Stream, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Headers []byte `json:"hdrs"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(reply.Data, &answer); {
	case err != nil:
		return "", fmt.Errorf("ask stream %q for its last message: %w", s.cfg.Stream, err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound, answer.Error == nil && len(answer.Message.Headers) == 0:
		return "", nil
	case answer.Error != nil:
		return "", fmt.Errorf("ask stream %q for its last message: %w", s.cfg.Stream, answer.Error)
	}
	h, err := nats.DecodeHeadersMsg(answer.Message.Headers)
	if err != nil {
		return "", nil // nothing of ours
	}
	return h.Get(headerID), nil
}

// takes reports whether the stream takes messages on subject.
func (s *natsSession) takes(subject string) (bool, error) {
	ctx, cancel := context.WithTimeout(s.ctx, apiTimeout)
	defer cancel()
	info, err := s.stream.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("ask what stream %q takes: %w", s.cfg.Stream, err)
	}
	return covers(info.Config.Subjects, subject), nil
}

// covers reports whether one of patterns includes subject.
func covers(patterns []string, subject string) bool {
	for _, p := range patterns {
		if subjectMatches(p, subject) {
			return true
		}
	}
	return false
}

// outAge tells for how long the session that there is, if any, waits for an answer.
type outAge struct{ out atomic.Pointer[natsOut] }

func (a *outAge) of(o *natsOut) { a.out.Store(o) }

func (a *outAge) oldest() time.Duration {
	if o := a.out.Load(); o != nil {
		return o.oldest()
	}
	return 0
}

// durableName is a name for a consumer.
func durableName(client string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(`.*>/\`, r) {
			return '_'
		}
		return r
	}, client)
}
