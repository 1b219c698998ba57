package appliance

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/statsd"
)

// SetLogLevel makes the broker log from level on, until the next Reload or its
// end; after that the level of the configuration counts again. It needs
// [WithLogLevel].
func (b *Broker) SetLogLevel(level slog.Level) error {
	if b.level == nil {
		return fmt.Errorf("set log level: %w", statsd.ErrLogFixed)
	}
	b.reloading.Lock() // so that what was asked for last counts
	defer b.reloading.Unlock()
	before := b.level.Level()
	b.level.Set(level)
	if before != level {
		change := fmt.Sprintf("from %s to %s", levelName(before), levelName(level))
		b.log.Info("log level changed", "from", levelName(before), "to", levelName(level))
		b.system(events.SystemLogLevel, change)
	}
	return nil
}

func levelName(l slog.Level) string { return strings.ToLower(l.String()) }

func (k backend) LogLevel(set string) (statsd.LogLevel, error) {
	if k.b.level == nil {
		return statsd.LogLevel{}, statsd.ErrLogFixed
	}
	if set != "" {
		var level slog.Level
		if err := level.UnmarshalText([]byte(set)); err != nil {
			return statsd.LogLevel{}, err
		}
		if err := k.b.SetLogLevel(level); err != nil {
			return statsd.LogLevel{}, err
		}
	}
	return statsd.LogLevel{Level: levelName(k.b.level.Level()), Config: levelName(k.b.conf().Log.Level)}, nil
}
