// Package wire reads and writes MQTT 3.1, 3.1.1 and 5 control packets as byte
// slices. It does no I/O, keeps no state, starts nothing and never panics,
// whatever the bytes; every function may be called from any goroutine.
//
// A reader of a byte stream calls [Scan] until it yields a [Frame], then the
// Decode function of the frame's type. Scan checks what the fixed header can
// tell; the decoders check everything else that a receiver must check of one
// packet on its own: lengths, UTF-8, ranges, reserved bits, properties. Rules
// that need the state of a session (a topic alias above the maximum, a second
// CONNECT) are the caller's. The decoders rely on Scan: hand them only frames
// that it returned.
//
// Append functions append one whole packet to dst and return the extended
// slice, as append does. They write well-formed packets for every input:
// strings beyond 65535 bytes are cut at a character boundary, and a packet
// that would exceed [MaxFrameSize] appends nothing.
//
// Scan, FrameSize, DecodePublish, DecodeAck, AppendPublish, AppendAck,
// AppendForward and MatchTopic allocate nothing when they succeed (Append
// functions: when dst has room).
//
// Rules are cited by their numbers in the MQTT 5.0 standard; a 3.1.1 number
// is marked as such.
package wire
