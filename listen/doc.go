// Package listen owns the sockets: it accepts connections and stands between
// each socket and the MQTT server.
//
// A [Listener] accepts on one TCP or unix socket, or on a TCP socket for MQTT
// over WebSocket, TLS, or both. All listeners share a [Gate], which holds the
// limits, knows every connection and watches keep alive. Each accepted socket
// becomes a [Conn], which the server reads and writes as a net.Conn; the PROXY
// header of a trusted proxy and handshakes of TLS and WebSocket are part of its
// life. What a listener asks of clients, its [Policy], can be exchanged while it
// is open. The Conn parses what arrives:
//
//   - Control frames (CONNECT, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH) are
//     validated and handed to the server one at a time. The server asks for
//     more only when it has finished one, so the order of control and message
//     frames holds without locks. It sees every session as a clean one without
//     will: those are the business of whoever is bound.
//     With Options.Control the server is done with a connection when it has let the
//     client in, and sees single control frames from then on.
//   - Message frames (PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP) go to the
//     [Receiver] that was bound with [Conn.Bind]; the server never sees them.
//   - PINGREQ is answered here.
//
// Both sides write whole frames to one outbound buffer. Nothing that appends
// to it or flushes it waits for the peer: what the kernel does not take at
// once is written by a goroutine that exists only while there is a remainder.
//
// A connection ends once, with one reason word ([Conn.EndReason]), and
// Options.OnEnd is called exactly once for every accepted connection, whatever
// happened in between.
package listen
