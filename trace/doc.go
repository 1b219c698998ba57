// Package trace shows packets as they pass: those of chosen clients, topics or
// addresses, in both directions, decoded and with their timing.
//
// A [Tracer] bounds how many traces there are. A [Trace] has a [Tap] for each
// connection that it follows, which is told of every packet and makes an [Entry]
// of it; entries wait in a bounded queue until somebody takes them. Who takes
// them too slowly loses entries, and is told so between those that remain.
//
// Passwords and authentication data never get into an Entry, payloads only if
// they are asked for. The package knows packets, not connections or sockets:
// whoever has these calls the Taps.
package trace
