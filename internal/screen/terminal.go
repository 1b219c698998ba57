package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Terminal is what a person sits at. Enter takes it over and Leave gives it back
// as it was; both may be called again.
type Terminal struct {
	in, out *os.File
	saved   unix.Termios
}

// ErrNoTerminal says that a stream is no terminal on which one can draw.
var ErrNoTerminal = errors.New("no terminal")

// Open returns the terminal from which in reads and to which out writes. It
// changes nothing yet. The error is ErrNoTerminal if one of them is none.
func Open(in io.Reader, out io.Writer) (*Terminal, error) {
	i, ok1 := in.(*os.File)
	o, ok2 := out.(*os.File)
	if !ok1 || !ok2 {
		return nil, ErrNoTerminal
	}
	if _, err := unix.IoctlGetTermios(int(o.Fd()), unix.TCGETS); err != nil {
		return nil, ErrNoTerminal
	}
	saved, err := unix.IoctlGetTermios(int(i.Fd()), unix.TCGETS)
	if err != nil {
		return nil, ErrNoTerminal
	}
	return &Terminal{in: i, out: o, saved: *saved}, nil
}

// What a terminal is told: to show its other screen, no cursor, and not to go on
// in the next line when one is full; and to undo that.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leave = "\x1b[0m\x1b[H\x1b[2J\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// Enter makes the terminal hand over keys as they are pressed and clears it.
func (t *Terminal) Enter() error {
	raw := t.saved
	raw.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INLCR | unix.IGNCR | unix.INPCK | unix.ISTRIP | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.IEXTEN | unix.ISIG
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETSW, &raw); err != nil {
		return fmt.Errorf("take over the terminal: %w", err)
	}
	return t.Write([]byte(enter))
}

// Leave gives the terminal back.
func (t *Terminal) Leave() error {
	err := t.Write([]byte(leave))
	if e := unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETSW, &t.saved); e != nil {
		err = errors.Join(err, fmt.Errorf("give back the terminal: %w", e))
	}
	return err
}

// Write writes b.
func (t *Terminal) Write(b []byte) error {
	if _, err := t.out.Write(b); err != nil {
		return fmt.Errorf("write to the terminal: %w", err)
	}
	return nil
}

// Size is the number of columns and rows. A terminal that does not know its size,
// such as a serial line, has that of the environment's COLUMNS and LINES, or 80
// and 24.
func (t *Terminal) Size() (w, h int) {
	if size, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ); err == nil {
		w, h = int(size.Col), int(size.Row)
	}
	return fallback(w, "COLUMNS", 80), fallback(h, "LINES", 24)
}

func fallback(n int, name string, otherwise int) int {
	const most = 1000
	if n <= 0 {
		n, _ = strconv.Atoi(os.Getenv(name))
	}
	if n <= 0 {
		n = otherwise
	}
	return min(n, most)
}

// escapeDelay is how long, in milliseconds, the rest of a sequence may take to
// follow its first byte; after that it was the escape key.
const escapeDelay = 100

// Keys calls fn for each key until ctx ends, which is no error, or until the
// terminal is gone, which is io.EOF or the error of reading.
func (t *Terminal) Keys(ctx context.Context, fn func(Key)) error {
	wake, wakeUp, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer wake.Close()
	stop := context.AfterFunc(ctx, func() { wakeUp.Close() })
	defer func() {
		if stop() {
			wakeUp.Close()
		}
	}()
	fds := []unix.PollFd{{Fd: int32(t.in.Fd()), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	var have []byte
	buf := make([]byte, 256)
	for {
		patience := -1
		if len(have) > 0 {
			patience = escapeDelay
		}
		n, err := unix.Poll(fds, patience)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for keys: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		if n > 0 {
			got, err := unix.Read(int(t.in.Fd()), buf)
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read keys: %w", err)
			}
			if got == 0 {
				return io.EOF
			}
			have = append(have, buf[:got]...)
		}
		for len(have) > 0 {
			key, used := parseKey(have, n == 0)
			if used == 0 {
				break
			}
			have = have[used:]
			fn(key)
		}
	}
}
