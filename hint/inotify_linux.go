package hint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// folderMask is what is told of a folder: which names come and go in it, and what
	// happens to itself. Not what is written to files in it: those that matter are
	// watched themselves. IN_ATTRIB is for its own mode, which decides who may look
	// something up; the kernel tells that of what is in the folder, too.
	folderMask = inFolder | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_DONT_FOLLOW | unix.IN_ONLYDIR
	// fileMask is what is told of a file. IN_CLOSE_WRITE is for what is written through
	// a mapping, of which nothing else tells.
	fileMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_DONT_FOLLOW

	// inFolder are the events by which a name in a folder leads to something else.
	inFolder = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	// another are the events after which something else may lie at the path, or nothing
	// is told of it any more.
	another = inFolder | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT | unix.IN_IGNORED
)

// kernel tells what happens to files. Read waits for events, and fills a buffer with
// them as the kernel writes them; Close ends that.
type kernel interface {
	io.ReadCloser
	// watch has events told of what lies at path. wd is what they call it: the same
	// for all paths to one file.
	watch(path string, mask uint32) (wd int32, err error)
	// forget ends that. That there is no wd any more is no error.
	forget(wd int32)
}

// inotify is the kernel of this machine.
type inotify struct {
	*os.File // in the runtime's poller: to wait in Read takes no thread
	conn     syscall.RawConn
}

// openInotify makes an inotify instance.
func openInotify() (kernel, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &inotify{file, conn}, nil
}

func (i *inotify) watch(path string, mask uint32) (wd int32, err error) {
	closed := i.conn.Control(func(fd uintptr) {
		var n int
		n, err = unix.InotifyAddWatch(int(fd), path, mask)
		wd, err = int32(n), os.NewSyscallError("inotify_add_watch", err)
	})
	return wd, errors.Join(closed, err)
}

func (i *inotify) forget(wd int32) {
	_ = i.conn.Control(func(fd uintptr) {
		_, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) // if what was there is gone, so is the watch
	})
}

// bufferSize has room for some hundred events. One takes 272 bytes at most.
const bufferSize = 4096

// event is one thing that has happened.
type event struct {
	wd   int32
	mask uint32
	name string // in the folder that wd is; empty: it has happened to what wd is itself
}

// events are those in b, which Read has filled. Should b not be made of whole events,
// the last is IN_Q_OVERFLOW, as if the kernel had lost what follows.
func events(b []byte) iter.Seq[event] {
	const head = unix.SizeofInotifyEvent // wd, mask, cookie and the length of the padded name, 4 bytes each
	word := binary.NativeEndian.Uint32
	return func(yield func(event) bool) {
		for len(b) > 0 {
			if len(b) < head || uint64(word(b[12:])) > uint64(len(b)-head) {
				yield(event{wd: -1, mask: unix.IN_Q_OVERFLOW})
				return
			}
			end := head + int(word(b[12:]))
			name, _, _ := bytes.Cut(b[head:end], []byte{0})
			if !yield(event{int32(word(b)), word(b[4:]), string(name)}) {
				return
			}
			b = b[end:]
		}
	}
}
