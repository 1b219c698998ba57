package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
)

// maxPayload is the largest payload that an MQTT packet may carry, in bytes,
// with the longest topic and room for properties.
const maxPayload = 268_435_455 - 128*1024

// payloads is the sequence of payloads to send.
type payloads struct {
	fixed []byte
	left  int           // how often fixed is still to be sent
	lines *bufio.Reader // else: one payload per line
	input chan line     // lines read ahead, so that waiting for one can be interrupted
	done  chan struct{} // closed when nobody wants lines any more
}

type line struct {
	text []byte
	err  error
}

func choosePayloads(e *env, c *cli.Context, rest []string) (*payloads, error) {
	file, lines, times := c.String("file"), c.Bool("lines"), c.Int("count")
	given := len(rest)
	if file != "" {
		given++
	}
	if lines {
		given++
	}
	switch {
	case given == 0:
		return nil, usageError("pub", "the message is missing: give it as an argument, with --file, with --lines, or - for stdin")
	case given > 1:
		return nil, usageError("pub", "the message is given more than once: an argument, --file and --lines exclude each other")
	case times < 1:
		return nil, usageError("pub", "--count %d is not positive", times)
	case lines && c.IsSet("count"):
		return nil, usageError("pub", "--lines and --count exclude each other")
	case lines:
		return &payloads{lines: bufio.NewReader(e.stdin), done: make(chan struct{})}, nil
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read message: %w", err)
		}
		defer f.Close()
		return wholePayload(f, times)
	case rest[0] == "-":
		return wholePayload(e.stdin, times)
	}
	return &payloads{fixed: []byte(rest[0]), left: times}, nil
}

func wholePayload(r io.Reader, times int) (*payloads, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if len(text) > maxPayload {
		return nil, fmt.Errorf("read message: it is larger than %s, which MQTT cannot carry", size(maxPayload))
	}
	return &payloads{fixed: text, left: times}, nil
}

// next returns the next payload, io.EOF after the last, or errInterrupted.
func (s *payloads) next(ctx context.Context) ([]byte, error) {
	if s.lines == nil {
		if s.left--; s.left < 0 {
			return nil, io.EOF
		}
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return s.fixed, nil
	}
	if s.input == nil {
		s.input = make(chan line)
		go s.readLines()
	}
	select {
	case <-ctx.Done():
		return nil, errInterrupted
	case l := <-s.input:
		return l.text, l.err
	}
}

// readLines hands out lines until the input ends or close is called. A read
// that blocks cannot be stopped: then this goroutine lasts until the program's
// end, which close precedes.
func (s *payloads) readLines() {
	for {
		text, err := readLine(s.lines, maxPayload)
		select {
		case s.input <- line{text, err}:
		case <-s.done:
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *payloads) close() {
	if s.done != nil {
		close(s.done)
	}
}

// readLine returns the next line without its end, or io.EOF. A last line
// without an end counts. Lines above longest bytes are an error.
func readLine(r *bufio.Reader, longest int) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > longest+2:
			return nil, fmt.Errorf("read line: it is longer than %s, which MQTT cannot carry", size(longest))
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(text) == 0):
			return nil, err
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		return bytes.TrimSuffix(text, []byte("\r")), nil
	}
}
