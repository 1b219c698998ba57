package recorder

import (
	"bytes"
	"io"
)

// part is some of the lines.
type part interface {
	open() (io.ReadCloser, error)
}

// memory is a medium that ends with the process.
type memory struct {
	segment, most int64
	list          []memoryPart // the last one grows
	size          int64
}

type memoryPart []byte

func (p memoryPart) open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p)), nil }

func (m *memory) append(lines []byte) error {
	last := len(m.list) - 1
	if last < 0 || int64(len(m.list[last])) >= m.segment {
		m.list = append(m.list, nil)
		last++
	}
	m.list[last] = append(m.list[last], lines...) // a part that was given out does not see it
	m.size += int64(len(lines))
	for m.size > m.most && len(m.list) > 1 {
		m.size -= int64(len(m.list[0]))
		m.list[0] = nil
		m.list = m.list[1:]
	}
	return nil
}

func (m *memory) parts() []part { return partsOf(m.list) }

// partsOf is list as parts, in a slice of its own.
func partsOf[P part](list []P) []part {
	parts := make([]part, len(list))
	for i, p := range list {
		parts[i] = p
	}
	return parts
}

func (m *memory) bytes() int64 { return m.size }
func (m *memory) close() error { return nil }
