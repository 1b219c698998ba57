// Package brokertest holds what tests of a running broker share: a client that
// does nothing by itself, a wait with a deadline, free ports, a log, the program
// built, and a look for goroutines that were left behind. Three loads know
// exactly what must have happened at their end: a plant, which is a gateway's day
// of realistic telemetry; a crowd, whose clients also come, fail and go; and a
// ring, whose members publish each to the next and never connect again.
//
// Helpers that take a testing.TB fail the test and do not return when
// something is wrong. They belong to the test's own goroutine.
package brokertest
