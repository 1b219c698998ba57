// Package store keeps what relay must not lose in a journal: it writes relay's
// changes as records, and makes the state anew from them after the process has
// ended in whatever way. It knows both sides and has no thread of its own but
// the one that writes checkpoints.
//
// The log's order is the order of effect, for each session and each topic, so
// that the state after a crash is one that there has been: that before the
// first record which is missing. A checkpoint is the whole state as records
// like any other, written while the relay goes on; see [relay.Relay.Snapshot].
package store
