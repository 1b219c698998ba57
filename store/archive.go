package store

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/synthetism/edgebroker/journal"
)

// errArchive is why an archive cannot do what other disks can.
var errArchive = errors.New("an archive is written once, from beginning to end, or read")

// Backup writes a copy of the store, as it is at some moment of the call, to w:
// a tar archive of the files of the log. The store goes on meanwhile, but gives
// up no space. After an error the archive is not complete.
func (s *Store) Backup(w io.Writer) error {
	a := &archiveWriter{tar: tar.NewWriter(w)}
	if err := s.journal.Snapshot(a); err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	if err := a.tar.Close(); err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	return nil
}

// archiveWriter is a journal.Disk that becomes a tar archive.
type archiveWriter struct {
	tar  *tar.Writer
	open bool
}

func (a *archiveWriter) Lock() error                       { return nil }
func (a *archiveWriter) Unlock() error                     { return nil }
func (a *archiveWriter) List() ([]journal.FileInfo, error) { return nil, nil }
func (a *archiveWriter) Open(string) (journal.File, error) { return nil, errArchive }
func (a *archiveWriter) Rename(string, string) error       { return errArchive }
func (a *archiveWriter) Remove(string) error               { return errArchive }
func (a *archiveWriter) Sync() error                       { return nil }

func (a *archiveWriter) Create(name string, size int64) (journal.File, error) {
	if a.open {
		return nil, errArchive
	}
	err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: time.Now(), Format: tar.FormatUSTAR})
	if err != nil {
		return nil, err
	}
	a.open = true
	return &archiveFile{archive: a, size: size}, nil
}

// archiveFile is a file that is written from its beginning on.
type archiveFile struct {
	archive *archiveWriter
	size    int64
	written int64
}

func (f *archiveFile) ReadAt([]byte, int64) (int, error) { return 0, errArchive }
func (f *archiveFile) Sync() error                       { return nil }

func (f *archiveFile) WriteAt(b []byte, offset int64) (int, error) {
	if offset != f.written {
		return 0, errArchive
	}
	n, err := f.archive.tar.Write(b)
	f.written += int64(n)
	return n, err
}

// Resize cannot take back the size that stands in the archive already: zeros
// fill the rest, and mean nothing to the log.
func (f *archiveFile) Resize(size int64) error {
	if size > f.size || size < f.written {
		return errArchive
	}
	return nil
}

func (f *archiveFile) Close() error {
	f.archive.open = false
	zeros := make([]byte, 4<<10)
	for f.written < f.size {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), f.size-f.written)], f.written); err != nil {
			return err
		}
	}
	return nil
}

// Archive is the files in a tar archive that Backup has written, as a
// journal.Disk to read from. Close it.
type Archive struct {
	file    *os.File
	entries []archiveEntry
}

type archiveEntry struct {
	name         string
	offset, size int64
}

// maxArchived bounds the files of an archive.
const maxArchived = 1 << 20

var segmentName = regexp.MustCompile(`^[0-9a-f]{16}\.seg$`)

// OpenArchive reads which files there are in the archive at path. Anything but
// a complete archive of a store is an error.
func OpenArchive(path string) (_ *Archive, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	a := &Archive{file: f}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("read backup %s: %w", path, err), f.Close())
		}
	}()
	for in := tar.NewReader(f); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := a.add(h); err != nil {
			return nil, err
		}
	}
	return a, a.complete()
}

var errIncomplete = errors.New("the archive is not complete")

// complete checks that the archive ends with its mark, not in the middle of
// what was to be written.
func (a *Archive) complete() error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	const block = 512
	room := info.Size() - 2*block // the mark
	for _, e := range a.entries {
		if e.size > room-e.offset {
			return errIncomplete
		}
	}
	if len(a.entries) == 0 {
		return errIncomplete
	}
	return nil
}

func (a *Archive) add(h *tar.Header) error {
	sparse := func(key string) bool { return strings.HasPrefix(key, "GNU.sparse") }
	keys := make([]string, 0, len(h.PAXRecords))
	for key := range h.PAXRecords {
		keys = append(keys, key)
	}
	known := slices.ContainsFunc(a.entries, func(e archiveEntry) bool { return e.name == h.Name })
	if h.Typeflag != tar.TypeReg || !segmentName.MatchString(h.Name) || slices.ContainsFunc(keys, sparse) || known || len(a.entries) >= maxArchived {
		return fmt.Errorf("%q is no file of a store, or there twice: this is no backup of a store", h.Name)
	}
	offset, err := a.file.Seek(0, io.SeekCurrent) // the reader has read headers only
	if err != nil {
		return err
	}
	a.entries = append(a.entries, archiveEntry{h.Name, offset, h.Size})
	return nil
}

// Close closes the archive's file.
func (a *Archive) Close() error { return a.file.Close() }

// Lock and Unlock do nothing: nobody writes to an archive.
func (a *Archive) Lock() error   { return nil }
func (a *Archive) Unlock() error { return nil }

// List is the files in the archive.
func (a *Archive) List() ([]journal.FileInfo, error) {
	out := make([]journal.FileInfo, len(a.entries))
	for i, e := range a.entries {
		out[i] = journal.FileInfo{Name: e.name, Size: e.size}
	}
	return out, nil
}

// Open opens a file for reading.
func (a *Archive) Open(name string) (journal.File, error) {
	for _, e := range a.entries {
		if e.name == name {
			return archived{io.NewSectionReader(a.file, e.offset, e.size)}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Create, Rename, Remove and Sync fail.
func (a *Archive) Create(string, int64) (journal.File, error) { return nil, errArchive }
func (a *Archive) Rename(string, string) error                { return errArchive }
func (a *Archive) Remove(string) error                        { return errArchive }
func (a *Archive) Sync() error                                { return errArchive }

// archived is a file in an Archive.
type archived struct{ *io.SectionReader }

func (archived) WriteAt([]byte, int64) (int, error) { return 0, errArchive }
func (archived) Resize(int64) error                 { return errArchive }
func (archived) Sync() error                        { return errArchive }
func (archived) Close() error                       { return nil }

var (
	_ journal.Disk = (*archiveWriter)(nil)
	_ journal.Disk = (*Archive)(nil)
)
