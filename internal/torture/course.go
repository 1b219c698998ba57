package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/synthetism/edgebroker/internal/child"
)

// sample is what a broker takes at a moment of a long run, or something that was done
// then.
type sample struct {
	Seconds     float64 `json:"seconds"` // of the run, those of its earlier pieces included
	Event       string  `json:"event,omitempty"`
	Broker      string  `json:"broker,omitempty"`
	AtRest      bool    `json:"atRest,omitempty"`
	Resident    int64   `json:"resident,omitempty"` // bytes
	Descriptors int     `json:"descriptors,omitempty"`
	Goroutines  int     `json:"goroutines,omitempty"`
	Disk        int64   `json:"disk,omitempty"` // bytes of all files of the store
	Sent        uint64  `json:"sent,omitempty"`
	Delivered   uint64  `json:"delivered,omitempty"`
}

// ends reports whether s says that broker was ended, by a kill or gently.
func (s sample) ends(broker string) bool {
	return strings.HasPrefix(s.Event, broker) && (strings.HasSuffix(s.Event, "killed") || strings.HasSuffix(s.Event, "stopped"))
}

// course is all samples of a long run, which may come in pieces.
type course struct {
	began  time.Time
	before float64 // seconds of the pieces before

	mu      sync.Mutex
	samples []sample // of this piece
	file    *os.File // nil: they are not kept
	failed  error
}

const newPiece = "begin"

// openCourse goes on with the one in a file, or begins it.
func openCourse(path string) (*course, error) {
	c := &course{began: time.Now()}
	if path == "" {
		return c, nil
	}
	earlier, err := readCourse(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, s := range earlier {
		c.before = max(c.before, s.Seconds)
	}
	if c.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		return nil, err
	}
	c.event(newPiece)
	return c, nil
}

// readCourses puts courses one after the other, as if each had begun when the one
// before ended.
func readCourses(paths []string) (list []sample, err error) {
	var end float64
	for _, path := range paths {
		samples, err := readCourse(path)
		if err != nil {
			return nil, err
		}
		before := end
		for _, s := range samples {
			s.Seconds += before
			end = max(end, s.Seconds)
			list = append(list, s)
		}
	}
	return list, nil
}

func readCourse(path string) (list []sample, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		var s sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		list = append(list, s)
	}
	return list, lines.Err()
}

func (c *course) event(what string) { c.add(sample{Event: what}) }

func (c *course) add(s sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Seconds = c.before + time.Since(c.began).Seconds()
	c.samples = append(c.samples, s)
	if c.file != nil {
		line, err := json.Marshal(s)
		if err == nil {
			_, err = c.file.Write(append(line, '\n'))
		}
		c.failed = errors.Join(c.failed, err)
	}
}

func (c *course) close() error {
	if c.file == nil {
		return c.failed
	}
	return errors.Join(c.failed, c.file.Close())
}

// sample looks at the broker.
func (b *broker) sample(ctx context.Context, data string) (s sample, err error) {
	f, err := child.Look(b.current().PID())
	if err != nil {
		return s, err
	}
	said, err := b.ask(ctx, "stats", "--output", "prom")
	if err != nil {
		return s, fmt.Errorf("%w: %s", err, said)
	}
	for line := range strings.Lines(said) {
		if n, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			s.Goroutines, err = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	s.Resident, s.Descriptors, s.Disk = f.Resident, f.Descriptors, child.Size(data)
	return s, err
}

// quantity is something that is to stay as it is.
type quantity struct {
	name  string
	of    func(sample) float64
	slack float64 // that it may grow by besides a quarter
	unit  float64
}

func quantities() []quantity {
	return []quantity{
		{"resident memory, MB", func(s sample) float64 { return float64(s.Resident) }, 8e6, 1e6},
		{"descriptors", func(s sample) float64 { return float64(s.Descriptors) }, 8, 1},
		{"goroutines", func(s sample) float64 { return float64(s.Goroutines) }, 16, 1},
		{"files of the store, MB", func(s sample) float64 { return float64(s.Disk) }, 16e6, 1e6},
	}
}

// warmUp is for how many seconds a process grows: until its heap is as large as the
// load makes it.
const warmUp = 120

// mustBeFlat compares what each broker took at rest in the last third of a run
// with the first. Of processes that have just begun it says nothing.
func (b *books) mustBeFlat(c *course) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, broker := range []string{"gateway", "far"} {
		var rests []sample
		var began float64
		for _, s := range c.samples {
			if s.ends(broker) {
				began = s.Seconds // of the one that follows, nearly
			}
			if s.Broker == broker && s.AtRest && s.Seconds-began >= warmUp {
				rests = append(rests, s)
			}
		}
		third := len(rests) / 3
		if third == 0 { // too short to tell
			continue
		}
		for _, q := range quantities() {
			first, last := median(rests[:third], q.of), median(rests[len(rests)-third:], q.of)
			b.checks(flat)
			if last > first*5/4+q.slack {
				b.breach(flat, nil, "%s of the %s: %.1f at rest in the last third, %.1f in the first", q.name, broker, last/q.unit, first/q.unit)
			}
		}
	}
}

func median(list []sample, of func(sample) float64) float64 {
	values := make([]float64, 0, len(list))
	for _, s := range list {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
