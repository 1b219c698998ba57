package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Name is how the service manager calls a parcel that it keeps.
const Name = "edgebroker-handover"

// batch is how many descriptors go into one message: the kernel takes 253.
const batch = 200

// Every message of a parcel begins with one byte that says what it holds.
const (
	holdsState   = 's' // the state, the list of those who have tried, the program
	holdsSockets = 'f'
	holdsEnd     = 'e' // nothing, and nothing follows
)

// Parcel is a State on its way, with its sockets.
type Parcel struct {
	*State
	Listeners []net.Listener   // those of State.Listeners
	Conns     map[int]*os.File // those of State.Conns, by place
	file      *os.File         // the socket in which it lies
	tried     *os.File         // by whom it was taken, a line each
	program   *os.File         // by which it was made; nil: not known
}

// Pack makes a parcel of s and the descriptors that belong to it, those of
// listeners first, and returns the socket that holds it. The descriptors stay the
// caller's.
func Pack(s *State, sockets []int) (*os.File, error) {
	if len(sockets) != s.Sockets() {
		return nil, fmt.Errorf("pack: %d descriptors for %d sockets", len(sockets), s.Sockets())
	}
	state, err := memory("edgebroker-state")
	if err != nil {
		return nil, err
	}
	defer state.Close()
	if err := Write(state, s); err != nil {
		return nil, err
	}
	if err := seal(state); err != nil {
		return nil, err
	}
	tried, err := memory("edgebroker-tried")
	if err != nil {
		return nil, err
	}
	defer tried.Close()
	first := []int{int(state.Fd()), int(tried.Fd())}
	if program, err := os.Open("/proc/self/exe"); err == nil {
		defer program.Close()
		first = append(first, int(program.Fd()))
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	keep := os.NewFile(uintptr(pair[0]), Name)
	err = fill(pair[1], first, sockets)
	if err2 := unix.Close(pair[1]); err == nil {
		err = err2
	}
	if err != nil {
		_ = keep.Close()
		return nil, fmt.Errorf("pack: %w", err)
	}
	return keep, nil
}

// fill puts descriptors into the queue behind fd. It does not wait: a queue that
// is too short is an error.
func fill(fd int, first, sockets []int) error {
	put := func(kind byte, fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		return unix.Sendmsg(fd, []byte{kind}, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	if err := put(holdsState, first); err != nil {
		return err
	}
	for len(sockets) > 0 {
		n := min(batch, len(sockets))
		if err := put(holdsSockets, sockets[:n]); err != nil {
			return err
		}
		sockets = sockets[n:]
	}
	return put(holdsEnd, nil)
}

// Open looks into the parcel that lies in file, which is the Parcel's from then
// on. It can be opened again, in another process. With an error that is not nil
// the Parcel may still tell who has tried and by whom it was made.
func Open(file *os.File) (*Parcel, error) {
	p := &Parcel{file: file, Conns: make(map[int]*os.File)}
	first, sockets, err := look(int(file.Fd()))
	if len(first) >= 2 {
		state := first[0]
		defer state.Close()
		p.tried = first[1]
		if len(first) > 2 {
			p.program = first[2]
		}
		if err == nil {
			p.State, err = Read(state)
		}
	} else {
		sockets = append(sockets, first...)
		err = errors.Join(err, errors.New("it holds no state"))
	}
	if err == nil && len(sockets) != p.Sockets() {
		err = fmt.Errorf("it holds %d sockets instead of %d", len(sockets), p.Sockets())
	}
	if err == nil {
		sockets, err = p.assign(sockets)
	}
	for _, f := range sockets {
		_ = f.Close()
	}
	if err != nil {
		return p, fmt.Errorf("open parcel: %w", err)
	}
	return p, nil
}

// assign gives each socket its place and returns those that have none.
func (p *Parcel) assign(sockets []*os.File) ([]*os.File, error) {
	for i := range p.State.Listeners {
		nl, err := net.FileListener(sockets[0])
		if listens, err2 := unix.GetsockoptInt(int(sockets[0].Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && (err2 != nil || listens == 0) {
			_ = nl.Close()
			err = errors.New("it does not listen")
		}
		if err != nil {
			return sockets, fmt.Errorf("listener %q: %w", p.State.Listeners[i].Name, err)
		}
		_ = sockets[0].Close() // the listener has one of its own
		sockets = sockets[1:]
		p.Listeners = append(p.Listeners, nl)
	}
	for i := range p.State.Conns {
		if !p.State.Conns[i].Gone {
			p.Conns[i], sockets = sockets[0], sockets[1:]
		}
	}
	return sockets, nil
}

// look reads the messages in the queue behind fd and leaves them there.
func look(fd int) (first, sockets []*os.File, err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return nil, nil, err
	}
	var kind [1]byte
	rights := make([]byte, unix.CmsgSpace(4*(batch+56)))
	for {
		n, size, flags, _, err := unix.Recvmsg(fd, kind[:], rights, unix.MSG_PEEK|unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		list := files(rights[:size])
		switch {
		case err != nil:
			return first, sockets, err
		case n == 0:
			return first, append(sockets, list...), io.ErrUnexpectedEOF
		case flags&unix.MSG_CTRUNC != 0:
			return first, append(sockets, list...), errors.New("there are more descriptors than this process may have; raise LimitNOFILE")
		case kind[0] == holdsState && first == nil:
			first = list
		case kind[0] == holdsSockets:
			sockets = append(sockets, list...)
		case kind[0] == holdsEnd:
			return first, sockets, nil
		default:
			return first, append(sockets, list...), fmt.Errorf("message of kind %q", kind[0])
		}
	}
}

// files are the descriptors in a control message.
func files(rights []byte) (list []*os.File) {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			list = append(list, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return list
}

// TriedBy are the programs that have taken the parcel, in the words of Try.
func (p *Parcel) TriedBy() []string {
	if p.tried == nil {
		return nil
	}
	text, err := io.ReadAll(io.NewSectionReader(p.tried, 0, 64<<10))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// Try notes that program takes the parcel. It outlives the process.
func (p *Parcel) Try(program string) error {
	if p.tried == nil {
		return errors.New("note who tries: the parcel has no list")
	}
	info, err := p.tried.Stat()
	if err == nil {
		_, err = p.tried.WriteAt([]byte(program+"\n"), info.Size())
	}
	if err != nil {
		return fmt.Errorf("note who tries: %w", err)
	}
	return nil
}

// File is the socket in which the parcel lies. It stays the Parcel's.
func (p *Parcel) File() *os.File { return p.file }

// Close gives up what nobody has taken out of the parcel.
func (p *Parcel) Close() {
	for _, l := range p.Listeners {
		if l != nil {
			_ = l.Close()
		}
	}
	for _, f := range p.Conns {
		_ = f.Close()
	}
	p.Listeners, p.Conns = nil, nil
	for _, f := range []*os.File{p.file, p.tried, p.program} {
		if f != nil {
			_ = f.Close()
		}
	}
}
