// Package brokertest holds what tests of a running broker share: a client that
// does nothing by itself, a wait with a deadline, and a plant, which is a
// gateway's day of realistic telemetry that knows exactly what a broker must
// have counted at its end.
//
// Helpers that take a testing.TB fail the test and do not return when
// something is wrong. They belong to the test's own goroutine.
package brokertest
