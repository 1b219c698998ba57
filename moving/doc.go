// Package moving makes a configuration of edgebroker from that of mosquitto: the
// config, a file of users, a file of rules, and a [Report] that says of each line
// what has become of it.
//
// It never opens a door that was shut. Where mosquitto would let somebody in, or
// let them do something, in a way that cannot be said here, nobody is let in
// that way, or nothing is allowed, and the entry of that line says so and is
// marked as one for a person to look at. Where it matters which version of
// mosquitto reads the file and nobody has said it, that is such a case.
//
// docs/MOVING.md is the same for people.
package moving
