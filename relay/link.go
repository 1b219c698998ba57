package relay

import "github.com/synthetism/edgebroker/wire"

// Link is the outbound half of a network connection, as relay needs it.
// Methods may be called from any goroutine and never block. After the
// connection has ended they do nothing and return 0.
type Link interface {
	// Send copies whole frames to the outbound buffer and returns how many
	// bytes now wait there; 0 only if it has taken nothing, for that reason.
	Send(frames []byte) int

	// SendShared is Send for one frame whose end is large: head is copied,
	// body is referenced and must not change afterwards.
	SendShared(head, body []byte) int

	// Pending returns how many bytes wait to be taken by the peer.
	Pending() int

	// Flush writes what waits without blocking. What the kernel does not
	// take is written in the background, and Port.Writable called when the
	// backlog has shrunk.
	Flush()

	// Ended reports whether the connection is over, or about to be.
	Ended() bool

	// Kick ends the connection, telling a v5 client r first. why is the
	// reason word of the disconnection event.
	Kick(r wire.Reason, why string)
}

// sharedBodyMin is the payload size from which a frame's payload is
// referenced instead of copied into each outbound buffer. Below it a copy is
// cheaper than one more element in a vectored write.
const sharedBodyMin = 4 << 10
