package store

import (
	"log/slog"
	"time"

	"github.com/synthetism/edgebroker/journal"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/rest"
	"github.com/synthetism/edgebroker/wire"
)

// Options say where and how surely state is kept.
type Options struct {
	Disk          journal.Disk
	Level         relay.Level   // for topics that no rule names; sessions and subscriptions are always as safe as with Sync
	Rules         []Rule        // the first that matches a topic counts
	FlushInterval time.Duration // what Flush may lose
	MaxDelay      time.Duration // upper bound of the time that a commit waits for others
	MaxBytes      int64         // on disk; 0: no limit
	SegmentSize   int64         // bytes
	MaxBacklog    int64         // bytes that may wait to be written before publishers are held back; 0: 8 MiB
	DailyBudget   uint64        // bytes that may be written in a day of the store's clock; 0: no limit
	Log           *slog.Logger
	Rest          *rest.Rest // has what the store does again and again wait for others; nil for one of its own

	// OnRecovery, if not nil, is called again and again while Open reads what is
	// stored, with how many bytes it has gone through of how many: as often as it is
	// called, recovery moves. It must not block.
	OnRecovery func(done, total int64)

	// OnState is told when the store begins or ceases to take messages, and
	// why. It must not block.
	OnState func(state journal.State, err error)

	// OnBudget is told once a day, and after a start, that more has been
	// written in it than DailyBudget, and what Flush may lose from now on. It
	// must not block.
	OnBudget func(used, daily uint64, window time.Duration)

	// BlockBytes says how much this process has sent to the block layer. Nil
	// if that is not known.
	BlockBytes func() uint64
}

// Rule says what is promised for the messages on the topics of Filter.
type Rule struct {
	Filter string // a topic filter without $share
	Level  relay.Level
}

func (o *Options) level(topic string) relay.Level {
	if topic == "" {
		return relay.Sync // rare, and without it what is stored better would not be found again
	}
	for _, r := range o.Rules {
		if wire.MatchTopic(r.Filter, topic) {
			return r.Level
		}
	}
	return o.Level
}
