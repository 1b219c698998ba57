package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/post"
)

// WebhookOptions configure a Webhook.
type WebhookOptions struct {
	URL    string                 // http or https
	Secret func() ([]byte, error) // reads what deliveries are signed with, for each; nil: they are not
	Source string                 // of the CloudEvents: see CloudEventSource
	// Directory is where events wait; it is made if it is not there. Empty: in
	// memory, where they do not survive the process.
	Directory   string
	MaxBytes    int64         // of what waits
	BatchEvents int           // most events in a delivery, at least 1
	BatchTime   time.Duration // that an event waits at most for others
	RetryMin    time.Duration // before the first repetition; then it doubles
	RetryMax    time.Duration
	Timeout     time.Duration // for a delivery and its answer
	Transport   http.RoundTripper
	Log         *slog.Logger
}

const (
	batchBytes = 512 << 10       // of a delivery, but for an event that is larger by itself
	farewell   = 2 * time.Second // for what waits in memory when the broker stops
)

// Webhook is a Target that posts events to a server, as batches of CloudEvents.
// Each is sent at least once, in order, until the server has said that it has
// taken it or that it never will; a server that does neither is tried again, ever
// more rarely, while events wait in bounded space.
type Webhook struct {
	counters
	o      WebhookOptions
	client *http.Client

	waiting, bytes atomic.Int64

	wake    chan struct{} // capacity 1: a token means that something has been added
	closing chan struct{} // closed when the broker stops
	cancel  context.CancelFunc
	done    chan struct{} // closed when nothing is sent any more

	mu     sync.Mutex // guards what follows
	spool  spool
	full   bool // the last event found no room, which has been said
	closed bool
}

// NewWebhook starts the target. The error says what is wrong with the folder.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	w := &Webhook{o: o, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	w.client = post.Client(o.Transport, o.Timeout)
	if o.Directory == "" {
		w.spool = &memory{most: o.MaxBytes}
	} else {
		d, err := openDisk(o.Directory, o.MaxBytes)
		if err != nil {
			return nil, err
		}
		w.spool = d
	}
	w.measureLocked()
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.run(ctx)
	return w, nil
}

// measureLocked has Counts know what waits.
func (w *Webhook) measureLocked() {
	w.waiting.Store(int64(w.spool.len()))
	w.bytes.Store(w.spool.bytes())
}

// Take implements Target.
func (w *Webhook) Take(e events.Event) {
	line, err := encodeCloudEvent(e, w.o.Source)
	if err == nil && len(line) > maxLine {
		err = fmt.Errorf("an event has %d bytes, %d is the most", len(line), maxLine)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		w.dropped.Add(1)
		return
	}
	if err == nil {
		err = w.spool.append(line)
	}
	if err != nil {
		w.dropped.Add(1)
		if !errors.Is(err, errFull) {
			w.errors.Add(1)
		}
		if !w.full {
			w.o.Log.Warn("events cannot wait for the webhook and are lost", "error", err)
		}
	}
	w.full = err != nil
	w.measureLocked()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Reopen implements Target. Secrets are read anew in any case.
func (w *Webhook) Reopen() {}

// Counts implements Target.
func (w *Webhook) Counts() Counts {
	c := w.counts()
	c.Waiting, c.Bytes = int(w.waiting.Load()), w.bytes.Load()
	return c
}

// run sends what there is until the broker stops.
func (w *Webhook) run(ctx context.Context) {
	defer close(w.done)
	defer w.client.CloseIdleConnections()
	limit, failures := w.o.BatchEvents, 0
	for w.gather(ctx) {
		lines, ready := w.next(limit)
		if len(lines) == 0 {
			continue
		}
		a := w.post(ctx, lines)
		switch {
		case ctx.Err() != nil:
			return
		case a.verdict == taken:
			w.sent.Add(uint64(len(lines)))
			w.forget(ready)
			limit = min(2*limit, w.o.BatchEvents)
			if failures > 0 {
				w.o.Log.Info("events are delivered again")
			}
			failures = 0
			continue
		case a.verdict == tooLarge && len(lines) > 1:
			w.errors.Add(1)
			limit = len(lines) / 2
			continue
		case a.verdict != later:
			w.errors.Add(1)
			w.dropped.Add(uint64(len(lines)))
			w.forget(ready)
			w.o.Log.Warn("events were refused and are lost", "events", len(lines), "error", a.err)
			continue
		}
		w.errors.Add(1)
		if failures == 0 {
			w.o.Log.Warn("events cannot be delivered, which is tried again", "error", a.err)
		}
		failures++
		if !w.pause(ctx, max(post.Backoff(failures, w.o.RetryMin, w.o.RetryMax), a.after)) {
			return
		}
	}
}

// next are the events to send, and what to forget when they are sent. What cannot
// be read is dropped.
func (w *Webhook) next(limit int) ([][]byte, mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.spool.len()
	lines, damaged, ready := w.spool.peek(limit, batchBytes)
	lost := before - w.spool.len()
	if len(lines) == 0 && ready.lines > 0 {
		if err := w.spool.remove(ready); err != nil {
			w.o.Log.Warn("events that cannot be read stay in the queue", "error", err)
		}
	} else {
		ready.damaged = damaged
		damaged = 0
	}
	if lost += damaged; lost > 0 {
		w.dropped.Add(uint64(lost))
		w.errors.Add(1)
		w.o.Log.Warn("events that waited cannot be read", "events", lost)
	}
	w.measureLocked()
	return lines, ready
}

// forget removes events from what waits.
func (w *Webhook) forget(ready mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped.Add(uint64(ready.damaged))
	if err := w.spool.remove(ready); err != nil {
		w.errors.Add(1)
		w.o.Log.Warn("events may be delivered twice", "error", err)
	}
	w.measureLocked()
}

// gather waits until there are events to send, and no longer for more of them. It
// reports false when no more are to be sent.
func (w *Webhook) gather(ctx context.Context) bool {
	var over <-chan time.Time
	for {
		n := int(w.waiting.Load())
		if n > 0 && over == nil {
			t := time.NewTimer(w.o.BatchTime)
			defer t.Stop()
			over = t.C
		}
		if ctx.Err() != nil || n >= w.o.BatchEvents {
			return ctx.Err() == nil
		}
		select {
		case <-w.wake:
		case <-over:
			return true
		case <-ctx.Done():
			return false
		case <-w.closing:
			return w.waiting.Load() > 0
		}
	}
}

// pause waits for d, and reports false when the broker stops.
func (w *Webhook) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-w.closing:
	}
	return false
}

// post sends one delivery.
func (w *Webhook) post(ctx context.Context, lines [][]byte) answer {
	body := make([]byte, 0, batchBytes)
	body = append(body, '[')
	body = append(body, bytes.Join(lines, []byte(","))...)
	body = append(body, ']')
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL, bytes.NewReader(body))
	if err != nil {
		return answer{later, 0, err}
	}
	req.Header.Set("Content-Type", "application/cloudevents-batch+json; charset=utf-8")
	req.Header.Set("User-Agent", "edgebroker")
	var secret []byte
	if w.o.Secret != nil {
		if secret, err = w.o.Secret(); err != nil {
			return answer{later, 0, fmt.Errorf("secret: %w", err)}
		}
	}
	now := time.Now()
	if err := sign(req.Header, body, secret, now); err != nil {
		return answer{later, 0, err}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return answer{later, 0, post.WithoutURL(err)}
	}
	post.Read(resp) // so that the connection can be used again
	return judge(resp.StatusCode, post.RetryAfter(resp.Header, now))
}

// Close implements Target. What waits on disk is sent after the next start, what
// waits in memory has a moment.
func (w *Webhook) Close(ctx context.Context) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		<-w.done
		return nil
	}
	w.closed = true
	keeps := w.spool.keeps()
	w.mu.Unlock()
	if keeps {
		w.cancel()
	}
	close(w.closing)
	t := time.NewTimer(farewell)
	defer t.Stop()
	select {
	case <-w.done:
	case <-t.C:
	case <-ctx.Done():
	}
	w.cancel()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.spool.len(); n > 0 && !keeps {
		w.dropped.Add(uint64(n))
		w.waiting.Store(0)
		w.o.Log.Warn("events that waited in memory are lost", "events", n)
	}
	return w.spool.close()
}
