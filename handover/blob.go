package handover

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A state in a file: magic, version, the length of what follows the header, its
// SHA-256, then that.
const (
	magic      = "EBHANDOV"
	headerSize = len(magic) + 4 + 8 + sha256.Size
)

var (
	// ErrVersion is wrapped by the error of reading a State of a version that
	// this program does not know.
	ErrVersion = errors.New("unknown version")
	errDamaged = errors.New("it is damaged")
)

// Now is the clock of State.Made: it goes on between processes, and stands for
// nothing else.
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Since is how long ago a State was made; 0 if the clock does not tell.
func (s *State) Since() time.Duration { return max(0, Now()-s.Made) }

// Write writes s to f, from its beginning.
func Write(f *os.File, s *State) error {
	if _, err := f.Seek(int64(headerSize), io.SeekStart); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	sum, n := sha256.New(), counter(0)
	c := &coder{w: bufio.NewWriterSize(io.MultiWriter(f, sum, &n), 64<<10)}
	c.state(s)
	if c.err == nil {
		c.err = c.w.Flush()
	}
	if c.err != nil {
		return fmt.Errorf("write state: %w", c.err)
	}
	head := append(make([]byte, 0, headerSize), magic...)
	head = binary.LittleEndian.AppendUint32(head, Format)
	head = binary.LittleEndian.AppendUint64(head, uint64(n))
	if _, err := f.WriteAt(sum.Sum(head), 0); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Read reads a State from f, from its beginning. Nothing of it is believed before
// its checksum is right.
func Read(f io.ReaderAt) (*State, error) {
	head := make([]byte, headerSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("read state: %w: %w", errDamaged, err)
	}
	rest, ok := bytes.CutPrefix(head, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("read state: %w: it does not begin like one", errDamaged)
	}
	if v := binary.LittleEndian.Uint32(rest); v != Format {
		return nil, fmt.Errorf("read state: %w %d; this program reads %d", ErrVersion, v, Format)
	}
	size := int64(binary.LittleEndian.Uint64(rest[4:]))
	if size < 0 {
		return nil, fmt.Errorf("read state: %w: it has a size of %d", errDamaged, size)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(f, int64(headerSize), size))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read state: %w: %w", errDamaged, err)
	case n != size:
		return nil, fmt.Errorf("read state: %w: it has %d bytes instead of %d", errDamaged, n, size)
	case !bytes.Equal(sum.Sum(nil), rest[12:]):
		return nil, fmt.Errorf("read state: %w: it has another checksum", errDamaged)
	}
	c := &coder{r: bufio.NewReaderSize(io.NewSectionReader(f, int64(headerSize), size), 64<<10), left: size}
	s := new(State)
	c.state(s)
	if c.err == nil && c.left != 0 {
		c.fail("%d bytes are left over", c.left)
	}
	if c.err != nil {
		return nil, fmt.Errorf("read state: %w", c.err)
	}
	return s, nil
}

// memory is a new file in memory.
func memory(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// seal makes f one that nobody can change any more.
func seal(f *os.File) error {
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, all); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}
