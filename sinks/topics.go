package sinks

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"

	"github.com/synthetism/edgebroker/events"
)

// TopicsOptions configure Topics.
type TopicsOptions struct {
	// Heard reports whether anybody has subscribed below TopicRoot.
	Heard func() bool
	// Level makes any text one level of a topic.
	Level func(string) string
	// Publish publishes, not retained. Unless it returns an error it calls done,
	// perhaps later, and on any goroutine, when the message is where it must be.
	Publish func(topic string, payload []byte, done func(error)) error
	Log     *slog.Logger
}

// Topics is a Target that publishes events as JSON, each on
// TopicRoot/TYPE/CLIENT, where CLIENT is "edgebroker" for those of no client.
// While nobody has subscribed to any of these topics it does nothing, and counts
// nothing.
type Topics struct {
	counters
	o       TopicsOptions
	waiting atomic.Int64
	failing atomic.Bool
}

// NewTopics makes the target.
func NewTopics(o TopicsOptions) *Topics { return &Topics{o: o} }

// Take implements Target.
func (t *Topics) Take(e events.Event) {
	if !t.o.Heard() {
		return
	}
	body, err := json.Marshal(e)
	if err != nil {
		t.errors.Add(1)
		t.dropped.Add(1)
		return
	}
	client := e.About()
	if client == "" {
		client = events.Source
	}
	t.waiting.Add(1)
	if err := t.o.Publish(TopicRoot+"/"+t.o.Level(string(e.Type))+"/"+t.o.Level(client), body, t.published); err != nil {
		t.published(err)
	}
}

func (t *Topics) published(err error) {
	t.waiting.Add(-1)
	if err == nil {
		t.sent.Add(1)
	} else {
		t.errors.Add(1)
		t.dropped.Add(1)
	}
	if was := t.failing.Swap(err != nil); err != nil && !was {
		t.o.Log.Warn("events cannot be published, those until it works again are lost", "error", err)
	}
}

// Reopen implements Target.
func (t *Topics) Reopen() {}

// Counts implements Target.
func (t *Topics) Counts() Counts {
	c := t.counts()
	c.Waiting = int(t.waiting.Load())
	return c
}

// Close implements Target.
func (t *Topics) Close(context.Context) error { return nil }
