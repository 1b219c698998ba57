// Package journal is a durable, append-only log of records on disk: what lies
// under "acknowledged means stored". It knows bytes, not MQTT.
//
// # Use
//
// [Open] recovers the log and replays its records. [Log.Append] puts a record
// into memory and never waits; [Log.Commit] tells a [Done] when everything
// appended before is on stable storage. One goroutine writes: whoever commits
// while the disk is busy shares the next write and the next fdatasync.
//
// A log only grows, so now and then ([Log.Due]) its owner writes its whole
// state anew within [Log.Checkpoint]; replay begins there from then on. A large
// record need not be written anew: [Log.Hold] keeps it, wherever it lies, until
// [Log.Release], and [Log.Read] reads it. [Log.Vacate] asks for the few that
// keep a mostly empty segment alive.
//
// Replay begins at the segment in which the last checkpoint began, so what was
// appended meanwhile by others comes before and between the state. A checkpoint
// that a crash interrupted is replayed too, as far as it came, after what it was
// to replace. So records of a checkpoint should say what is, not what changes.
//
// # What holds
//
//   - After a nil Committed at level [Sync], no crash and no power cut loses what
//     was appended before that Commit. Replay yields a prefix of what was
//     appended, in order, and nothing else.
//   - After an error nothing is promised any more until a whole checkpoint lies
//     in fresh segments: a failed fdatasync is not tried again on the same file,
//     since a disk reports a lost write only once.
//   - Every flipped bit in a record is found, at Open if it is replayed, else by
//     Read or [Verify]. Damage costs the records that it hit and is reported; it
//     does not keep the log from opening.
//   - All files together stay within [Options.MaxBytes], with room kept for a
//     checkpoint and for small records after the state has become [Full].
//
// # Limits
//
// Damage to the last batch of a log that was not closed cannot be told from a
// write that a power cut tore: it is reported as a torn tail. A storage device
// that acknowledges a flush and loses it can undo what was acknowledged; so can
// one that destroys bytes beside those being written in the same 512 bytes.
//
// # Format, version 1
//
// Numbers are little-endian. A log is a directory of segments, files of a fixed
// size named after their number in 16 hexadecimal digits with the suffix .seg.
//
// A segment begins with a header of 512 bytes: magic (8), version (4), kind (1;
// its value is 1 for a spare, 2 for one begun), flags (1), format of the owner's
// records (2), epoch of the store (16), number (4), root (4), position (8) of the
// end of the segment before, size (8), clock (8), bytes of the last checkpoint (8),
// zeros, and at 508 the CRC-32C of what is before. Magic, version and CRC have their
// places in every version.
//
// Records follow without gaps. Each has 12 bytes before its data: length (4)
// with the highest bit set, type (1), check (3), CRC (4). The check is the lower
// 24 bits of the CRC-32C of length and type, the CRC goes on over the data. Its
// seed is the CRC-32C of epoch and segment number, xor the record's offset, so
// what a recycled file held before is never taken for a record. Types from 0xf0
// are the log's own.
//
// What is written and synced as one is a batch. It begins with a mark (type
// 0xf0): position up to which all was stable when it was written (8), clock (8),
// root (4), bytes (4) and number (4) of the records of the batch in this
// segment, flags (4, 1: the log was closed here). The first batch of a segment
// begins instead with 0xf1: the first 72 bytes of the header again, bytes and
// number of records.
//
// A mark is written only after everything before it was synced. So a hole before
// the last mark of the last segment is damage, one after it a torn tail, and
// whatever is valid beyond a torn tail is dropped. The header of a segment is
// written after the segment before was synced, and says where that one ends:
// what lies beyond does not exist. Numbers of segments grow but need not be
// consecutive. A segment flagged as recovering, and all after it, counts only
// once a later mark or header names it, or a later one, as the root.
//
// Spares are segments of kind spare; their header's position names the segment
// that was the last when they were made. A file NAME.bad is a copy of a segment
// in which damage was found.
package journal
