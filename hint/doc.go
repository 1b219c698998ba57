// Package hint has the kernel tell when files may have changed, so that a process need
// not look at them again and again. It is for the few files that a program is
// configured with, each given by its path.
//
// A path leads to another file also when a link or a folder on the way is replaced. So
// what is watched is the file and every folder in which the way to it looks something
// up, links followed: for /etc/broker/rules, a link to ../../srv/rules, these are
// /, /etc, /etc/broker, /srv and the file itself. What happens there to other names is
// no hint, and what is written to other files does not even wake the process: of folders
// the kernel tells which names come and go, and when something in it gets another mode
// or time.
//
// For some files only looking helps, and a Watch says so by not vouching: they lie in a
// folder that does not exist or cannot be read, or on a file system that others change
// as well (network file systems, those of virtual machines' hosts, FUSE); the kernel's
// limits are reached; or a file is written, or names in one of the folders come and go,
// so often that to be told of it would wake the process more often than looking does.
// It is tried again later. Mounting and unmounting is not told: that takes a look.
//
// On systems other than Linux nothing is vouched for.
package hint
