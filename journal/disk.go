package journal

import "io"

// Disk is a directory that holds the files of one log. Errors wrap those of
// package io/fs where such fit, and syscall.ENOSPC when there is no room.
type Disk interface {
	// Lock takes the directory for this process, or fails with ErrLocked.
	// Unlock without Lock does nothing.
	Lock() error
	Unlock() error
	// List is the files in the directory, in any order.
	List() ([]FileInfo, error)
	// Open opens an existing file.
	Open(name string) (File, error)
	// Create makes a new file, which must not exist, of size bytes, with
	// blocks for all of them if the file system can do that.
	Create(name string, size int64) (File, error)
	// Rename and Remove change the directory. Rename replaces.
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes what Create, Rename and Remove did outlast a power cut.
	Sync() error
}

// FileInfo describes a file of a Disk.
type FileInfo struct {
	Name string
	Size int64 // bytes
}

// File is an open file of a Disk. Reads and writes may run at the same time.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Resize sets the size. Growing, it has blocks for all of it if the file
	// system can do that, and reads as zeros.
	Resize(size int64) error
	// Sync makes data and size outlast a power cut.
	Sync() error
}
