// Package handover carries what a broker is in the middle of from one process to
// the next: its state, in a format of its own, and the descriptors of its
// sockets.
//
// A [State] is written into a sealed file in memory, with a version and a
// checksum. A version that it cannot read is refused, and so is whatever has been
// damaged: then clients connect anew, and what was stored is there.
//
// A [Parcel] is one descriptor that holds that file and all sockets: a local
// socket in whose queue they lie, by SCM_RIGHTS. It can be looked into as often
// as needed, so that a process that fails in the middle leaves it for the next
// one. How the one descriptor gets to the next process is the carrier's affair:
// the service manager keeps it (FDSTORE=1 of sd_notify), or it is inherited by
// exec in the same process.
//
// A parcel also holds the program that has made it, to be run again if its
// successor fails, and a list of those that have tried.
package handover
