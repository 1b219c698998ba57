package appliance

import (
	"context"
	"path/filepath"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/recorder"
	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/wire"
)

// RecorderConfig is about the flight recorder: the latest events, to be looked
// at afterwards.
type RecorderConfig struct {
	// MaxBytes bounds what it keeps: in the folder events of Storage.Directory
	// or, if that is empty, in memory, where it is at most 1 MiB. 0: it is off.
	MaxBytes ByteSize `yaml:"max_bytes"`
	// Messages has it record each publish, without its payload.
	Messages bool `yaml:"messages"`
}

// maxInMemory is what a recorder without a folder takes.
const maxInMemory = 1 * MiB

// EventsFolder is where the flight recorder of a broker with that storage
// directory keeps its files.
func EventsFolder(directory string) string { return filepath.Join(directory, "events") }

// recorded are the types of events that are recorded.
func (c RecorderConfig) recorded() []events.Type {
	types := []events.Type{events.Connection, events.Disconnection, events.Refusal, events.Slow, events.Bridge, events.System}
	if c.Messages {
		types = append(types, events.Message)
	}
	return types
}

// record starts the flight recorder. One that cannot use its folder keeps what
// happens in memory: a broker is not to stand still for want of it.
func (b *Broker) record() {
	c := b.conf()
	if c.Events.Recorder.MaxBytes == 0 {
		return
	}
	log := b.log.With("component", "recorder")
	o := recorder.Options{MaxBytes: int64(c.Events.Recorder.MaxBytes), Log: log}
	var err error
	if c.Storage.Directory != "" {
		o.Directory = EventsFolder(c.Storage.Directory)
		b.recorder, err = recorder.Open(o)
		if err != nil {
			log.Warn("events are recorded in memory only", "error", err)
		}
	}
	if b.recorder == nil {
		o.Directory, o.MaxBytes = "", int64(min(c.Events.Recorder.MaxBytes, maxInMemory))
		if b.recorder, err = recorder.Open(o); err != nil {
			log.Error("events are not recorded", "error", err)
			return
		}
	}
	b.recording = b.bus.Subscribe("recorder", events.Filter{Types: c.Events.Recorder.recorded()}, c.Events.Queue, b.recorder.Add)
}

// lossInterval is how often what was lost is recorded: as sums, since there may
// be millions.
const lossInterval = 10 * time.Second

// calmInterval is how often is done at rest what is not to be left undone for ever,
// although nothing has happened that would make it necessary.
const calmInterval = time.Minute

// recordLosses records what is lost until ctx ends.
func (b *Broker) recordLosses(ctx context.Context) {
	if b.recorder == nil {
		return
	}
	job := b.rest.Job(lossInterval)
	defer job.End()
	for job.Next(ctx, calmInterval) {
		b.addLosses()
	}
}

// addLosses records what was lost since the last time.
func (b *Broker) addLosses() {
	for _, l := range b.relay.NewLosses() {
		source := l.Client
		if source == "" {
			source = events.Source
		}
		b.recorder.Add(events.New(events.Drop, source, events.DropData{ClientID: l.Client, Topic: l.Branch, Reason: l.Reason, Count: l.Count}))
	}
}

// Losses is what has been lost since Start, in no order, but for messages on
// topics that nobody had subscribed to.
func (b *Broker) Losses() []statsd.Loss {
	if !b.assembled() {
		return nil
	}
	all := b.relay.Losses()
	list := make([]statsd.Loss, len(all))
	for i, l := range all {
		list[i] = statsd.Loss{Client: l.Client, Topic: l.Branch, Reason: l.Reason, Count: l.Count, Last: l.Last}
	}
	return list
}

// unrecorded is how many events the flight recorder could not keep.
func (b *Broker) unrecorded() uint64 {
	if b.recorder == nil {
		return 0
	}
	return b.recorder.Stats().Lost
}

// closeRecorder writes what waits. All events have been handed over by then.
func (b *Broker) closeRecorder() error {
	if b.recorder == nil {
		return nil
	}
	if b.relay != nil {
		b.addLosses()
	}
	return b.recorder.Close()
}

// History calls fn for the recorded events that meet q, the oldest first, until
// fn returns an error, which is returned. keep, if it has conditions, is a
// further one. Whatever has happened before the call is there: who listens to
// what happens first, and then reads this, misses nothing. See config
// events.recorder.
func (b *Broker) History(ctx context.Context, q recorder.Query, keep events.Filter, fn func(events.Event) error) error {
	if !b.assembled() || b.recorder == nil {
		return nil
	}
	if err := b.recording.Settle(ctx); err != nil {
		return err
	}
	q.Keep = keep.Matcher(wire.MatchTopic)
	_, err := b.recorder.Read(ctx, q, fn)
	return err
}
