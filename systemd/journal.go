package systemd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// JournalSocket is where journald takes records.
const JournalSocket = "/run/systemd/journal/socket"

// Bounds of a record, so that it always fits a datagram.
const (
	maxFieldName  = 64       // journald's own
	maxFieldValue = 16 << 10 // bytes; what is longer is cut
	maxRecord     = 64 << 10 // bytes; fields beyond are left out
)

// journalTimeout bounds the wait for a journal that does not keep up.
const journalTimeout = 100 * time.Millisecond

// Priorities of records, as in syslog(3).
const (
	PriorityError   = 3
	PriorityWarning = 4
	PriorityNotice  = 5
	PriorityInfo    = 6
	PriorityDebug   = 7
)

// Field is one field of a record in the journal.
type Field struct{ Name, Value string }

// FieldName makes the name of a field of words: letters become capitals, between
// a small and a large one there is an underscore, and what a name may not hold
// becomes one. Names that journald keeps for itself cannot come out.
func FieldName(words ...string) string {
	var b strings.Builder
	for _, word := range words {
		if b.Len() > 0 {
			b.WriteByte('_')
		}
		small := false
		for _, r := range word {
			switch {
			case r >= 'a' && r <= 'z':
				b.WriteRune(r - 'a' + 'A')
			case r >= 'A' && r <= 'Z':
				if small {
					b.WriteByte('_')
				}
				b.WriteRune(r)
			case r >= '0' && r <= '9':
				b.WriteRune(r)
			default:
				b.WriteByte('_')
			}
			small = r >= 'a' && r <= 'z'
		}
	}
	name := strings.TrimLeft(b.String(), "_0123456789")
	if name == "" {
		name = "FIELD"
	}
	return name[:min(len(name), maxFieldName)]
}

// Journal sends records to journald by its native protocol. Methods may be
// called from any goroutine.
type Journal struct {
	path string

	mu   sync.Mutex
	conn *net.UnixConn // nil: not connected
	buf  []byte
}

// OpenJournal is the journal at path, which need not be there yet.
func OpenJournal(path string) *Journal { return &Journal{path: path} }

// Send hands over one record, and says so if it cannot. It waits for 100 ms at
// most. Values may hold anything.
func (j *Journal) Send(fields ...Field) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf = j.buf[:0]
	for _, f := range fields {
		if len(j.buf)+len(f.Name)+min(len(f.Value), maxFieldValue) < maxRecord {
			j.buf = appendField(j.buf, f)
		}
	}
	err := j.writeLocked()
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTCONN) { // journald was started anew
		j.closeLocked()
		err = j.writeLocked()
	}
	if err != nil {
		j.closeLocked()
		return fmt.Errorf("send to the journal: %w", err)
	}
	return nil
}

// appendField writes f as journald reads it: values of several lines are
// preceded by their length.
func appendField(b []byte, f Field) []byte {
	value := f.Value
	if len(value) > maxFieldValue {
		value = strings.ToValidUTF8(value[:maxFieldValue], "") + "..."
	}
	b = append(b, f.Name...)
	if !strings.Contains(value, "\n") {
		b = append(b, '=')
	} else {
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	}
	b = append(b, value...)
	return append(b, '\n')
}

func (j *Journal) writeLocked() error {
	if j.conn == nil {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: j.path, Net: "unixgram"})
		if err != nil {
			return err
		}
		j.conn = conn
	}
	if err := j.conn.SetWriteDeadline(time.Now().Add(journalTimeout)); err != nil {
		return err
	}
	_, err := j.conn.Write(j.buf)
	return err
}

func (j *Journal) closeLocked() {
	if j.conn != nil {
		_ = j.conn.Close()
		j.conn = nil
	}
}

// Close lets go of the socket. A later Send takes it again.
func (j *Journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closeLocked()
}

// IsJournal reports whether what is written to f goes to the journal, as
// systemd says with JOURNAL_STREAM: who sees that can send records instead of
// lines.
func IsJournal(f *os.File) bool {
	device, inode, ok := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && strconv.FormatUint(uint64(st.Dev), 10) == device && strconv.FormatUint(st.Ino, 10) == inode
}
