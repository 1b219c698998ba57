package statsd

// Answers are what a broker is asked beyond its counters. They may take longer
// than those of Backend.
type Answers interface {
	// Balance accounts for every message.
	Balance() Balance
}
