package statsd

import "context"

// Answers are what a broker is asked beyond its counters. They may take longer
// than those of Backend, and their results are the caller's.
type Answers interface {
	// Balance accounts for every message.
	Balance() Balance
	// Publishers tells who has published on topics that match filter, and
	// Retained what is retained there, by topic, the first top of them.
	Publishers(filter string, top int) Found[TopicPublishers]
	Retained(filter string, top int, payload bool) Found[Retained]
	// ClearRetained removes retained messages and returns when that is stored,
	// with how many there were.
	ClearRetained(ctx context.Context, filter string) (int, error)
	// Topics are the busiest topics, or branches of depth levels if that is not
	// 0. It fails if depth is out of range.
	Topics(depth int, byBytes bool, top int) (Topics, error)
	// Settings is the configuration in force, without what is secret.
	Settings() []Setting
	// LogLevel changes from which level on the broker logs, to one of LogLevels or
	// not at all if set is "", and tells what it is then.
	LogLevel(set string) (LogLevel, error)
}
