package appliance

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/internal/post"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/sinks"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/systemd"
)

// Of webhooks.
const (
	hookRetryMin = time.Second
	hookRetryMax = 2 * time.Minute
	hookTimeout  = 10 * time.Second
)

// startSinks starts the event sinks. One that cannot be started is reported: a
// broker is not to stand still for want of it.
func (b *Broker) startSinks() {
	c := b.conf()
	for _, s := range c.Events.Sinks {
		t, err := b.sinkTarget(c, s)
		if err != nil {
			b.log.Error("event sink cannot be started", "sink", s.Name, "error", err)
			continue
		}
		o := sinks.Options{Name: s.Name, Topic: s.Topic, Sample: s.Sample, Queue: cmp.Or(s.Queue, c.Events.Queue), Payloads: s.Payloads}
		for _, t := range s.Types {
			o.Types = append(o.Types, events.Type(t))
		}
		if s.Client != "" {
			o.Client = matcher(s.Client)
		}
		b.sinks = append(b.sinks, sinks.Start(b.bus, o, t))
	}
}

func (b *Broker) sinkTarget(c Config, s SinkConfig) (sinks.Target, error) {
	log := b.log.With("component", "sinks", "sink", s.Name)
	switch s.Type {
	case SinkFile:
		return sinks.NewFile(sinks.FileOptions{Path: s.Path, MaxBytes: int64(cmp.Or(s.MaxBytes, sinkBytes)), Keep: cmp.Or(s.Keep, sinkKeep), Log: log}), nil
	case SinkJournal:
		return sinks.NewJournal(systemd.JournalSocket, log), nil
	case SinkMQTT:
		return sinks.NewTopics(sinks.TopicsOptions{
			Heard: func() bool { return b.telling.Load() && b.relay.Heard(sinks.TopicRoot) },
			Level: topicLevel,
			Publish: func(topic string, payload []byte, done func(error)) error {
				return b.relay.Publish(relay.Outgoing{Topic: topic, Payload: payload, QoS: byte(s.QoS)}, committed(done))
			}, Log: log,
		}), nil
	}
	o := sinks.WebhookOptions{URL: s.URL, Source: sinks.CloudEventSource(c.Sys.NodeName()), MaxBytes: int64(cmp.Or(s.MaxBytes, sinkBytes)),
		BatchEvents: cmp.Or(s.BatchEvents, sinkBatchEvents), BatchTime: cmp.Or(s.BatchTime, sinkBatchTime),
		RetryMin: hookRetryMin, RetryMax: hookRetryMax, Timeout: hookTimeout, Log: log}
	if s.Secret != "" {
		o.Secret = func() ([]byte, error) {
			secret, err := s.Secret.read()
			if err != nil {
				return nil, err
			}
			return secret.Reveal(), nil
		}
	}
	var secured *tls.Config // nil: as the system has it
	if s.CA != "" {
		var err error
		if secured, err = clientTLS(s.CA, "", ""); err != nil {
			return nil, err
		}
	}
	o.Transport = post.Transport(secured)
	if c.Storage.Directory != "" {
		o.Directory = filepath.Join(c.Storage.Directory, "sinks", s.Name)
		w, err := sinks.NewWebhook(o)
		if err == nil {
			return w, nil
		}
		log.Warn("events wait in memory only", "error", err)
	}
	o.Directory, o.MaxBytes = "", min(o.MaxBytes, int64(maxInMemory))
	return sinks.NewWebhook(o)
}

// committed is a relay.Done.
type committed func(error)

func (f committed) Committed(err error) { f(err) }

// reopenSinks has sinks begin anew with their files, which somebody may have
// moved away.
func (b *Broker) reopenSinks() {
	for _, s := range b.sinks {
		s.Reopen()
	}
}

// closeSinks hands over what waits. The bus has been closed by then.
func (b *Broker) closeSinks(ctx context.Context) error {
	var errs []error
	for _, s := range b.sinks {
		errs = append(errs, s.Close(ctx))
	}
	return errors.Join(errs...)
}

// sinkStats describes the sinks, in the order of the configuration.
func (b *Broker) sinkStats() []statsd.EventSink {
	var out []statsd.EventSink
	for _, s := range b.sinks {
		st := s.Stats()
		out = append(out, statsd.EventSink{Name: st.Name, Sent: st.Sent, Dropped: st.Dropped, Errors: st.Errors, Waiting: int64(st.Waiting), Bytes: st.Bytes})
	}
	return out
}
