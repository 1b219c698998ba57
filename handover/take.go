package handover

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// EnvParcel names the descriptor of a parcel that a program which is run in place
// of another has inherited.
const EnvParcel = "EDGEBROKER_HANDOVER"

// takenOver in the list of those who have tried says that clients were read again:
// from then on the state is one of the past.
const takenOver = "taken over"

// Inherited is the descriptor that EnvParcel names, -1 if there is none. It is
// told once.
func Inherited() int {
	text := os.Getenv(EnvParcel)
	_ = os.Unsetenv(EnvParcel)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return -1
	}
	unix.CloseOnExec(fd)
	return fd
}

// Self tells the program of this process from others, and from another version
// at the same place.
func Self() string { return identify("/proc/self/exe") }

func identify(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%d:%d:%d:%d.%d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
}

// Verdict is what the program of this process is to do with a parcel.
type Verdict int

// The verdicts.
const (
	// Go: take it.
	Go Verdict = iota
	// Drop: leave it. Whoever took it has failed, and nobody is left who has not
	// tried, or it is too late.
	Drop
	// RunEarlier: this program has failed with it; the one that has made it is to
	// be run instead, see RunProgram.
	RunEarlier
)

// Judge says what self is to do with p, by who has tried. Go notes that it has.
func (p *Parcel) Judge(self string) (Verdict, error) {
	tried := p.TriedBy()
	switch {
	case slices.Contains(tried, takenOver):
		return Drop, nil
	case !slices.Contains(tried, self):
		return Go, p.Try(self)
	case p.Earlier(self):
		return RunEarlier, nil
	}
	return Drop, nil
}

// Earlier reports whether the parcel was made by another program than self, which
// has not failed with it.
func (p *Parcel) Earlier(self string) bool {
	if p.program == nil {
		return false
	}
	by := identify("/proc/self/fd/" + strconv.Itoa(int(p.program.Fd())))
	return by != "unknown" && by != self && !slices.Contains(p.TriedBy(), by)
}

// TakenOver notes that clients are about to be read again: nobody may go on from
// the parcel after that.
func (p *Parcel) TakenOver() error { return p.Try(takenOver) }

// RunProgram runs the program that has made the parcel in place of this process,
// with args and env, and lets it inherit the parcel. It returns only with an
// error.
func (p *Parcel) RunProgram(args, env []string) error {
	if p.program == nil {
		return errors.New("run the program before: it is not known")
	}
	return Run("/proc/self/fd/"+strconv.Itoa(int(p.program.Fd())), args, env, p.file)
}

// Run runs a program in place of this process and lets it inherit the parcel that
// lies in file, if that is not nil. It returns only with an error.
func Run(program string, args, env []string, file *os.File) error {
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, EnvParcel+"=") })
	if file != nil {
		fd := int(file.Fd())
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("let a parcel be inherited: %w", err)
		}
		defer unix.CloseOnExec(fd)
		env = append(env, EnvParcel+"="+strconv.Itoa(fd))
	}
	return fmt.Errorf("run %s: %w", program, syscall.Exec(program, args, env))
}

// Keep is a second descriptor of a parcel, which stays open when the first is
// closed, as that is once the send of a broker's HandOver has returned.
func Keep(file *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("keep a parcel: %w", err)
	}
	return os.NewFile(uintptr(fd), Name), nil
}
