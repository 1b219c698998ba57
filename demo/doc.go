// Package demo is `edgebroker demo`: a gateway with a small plant behind it, in
// one process, that tells what it does while it does it.
//
// The broker is the one that serve runs, with users, rules, a store, an HTTP
// address and an uplink; a second one stands for the head office. Devices and
// people are MQTT clients over real sockets, on loopback alone. They count what
// they publish and read, so that the demo ends with books: its own counts beside
// those of the broker, which must agree to the message.
//
// Everything lies in one folder, which is removed at the end, however Run ends,
// unless it is asked to keep it. No goroutine and no socket outlives Run.
package demo
