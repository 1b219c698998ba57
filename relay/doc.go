// Package relay is the data plane: who gets which message, in which order,
// with which guarantee. It knows sessions, subscriptions, retained messages,
// wills and the QoS 0/1/2 exchanges of MQTT 3.1, 3.1.1 and 5, and nothing of
// sockets: it reads frames that its caller hands it and writes to a [Link].
//
// # Who runs what
//
// A connection's reader goroutine calls [Port.Receive] for each message frame
// and [Port.Flush] when its input is used up. Routing, delivery and the
// writes that follow happen on that goroutine; there is no hand-off.
// Everything else ([Relay.Publish], timers of wills and session expiry) may
// run on any goroutine.
//
// # Promises
//
//   - Nothing here waits for a client. Sending appends to a Link and a Link
//     never blocks; what does not fit waits in the session's bounded queue or
//     is dropped, counted by reason, and reported as a drop event.
//   - Messages of one publisher on one topic at one QoS reach each session in
//     the order they were received. [MQTT-4.6.0-6]
//   - An acknowledgement leaves after the [Store] says that what it promises
//     is kept; never before.
//   - The packet identifiers of the two directions are separate spaces.
//
// # Locks
//
// Relay.moving comes before Relay.mu (sessions), that before Session.mu, and
// Session.mu before the locks of subscriptions, retained messages, shared groups,
// gates, bodies and the Link. No lock is held while a socket is written to or an
// event handler runs.
package relay
