// Package bridge connects this broker to others, and to NATS: an uplink is a client
// of the far side and, at the same time, a kept session of this broker, like that of
// a device. What waits for the far side waits there: bounded, in order, on disk.
//
// The two sessions are one exchange of acknowledgements. A message goes out
// under the packet identifier that it has in the session here, and what the far
// side says of it is said to that session: it leaves the queue when the far side
// has taken it over, never before, and a crash on either side changes nothing
// about that. So QoS 2 is once from end to end. What comes in is acknowledged to
// the far side when this broker has stored it.
//
// An [Uplink] goes on by itself between Start and Stop, whatever becomes of the far
// side, and may be asked from any goroutine.
package bridge
