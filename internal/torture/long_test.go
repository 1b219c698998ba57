package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rests are samples at rest of both brokers; grown is what the gateway takes in
// the last of them, by what it takes in the others.
func rests(n int, grown float64) *course {
	c := &course{}
	for i := range n {
		for _, broker := range []string{"gateway", "far"} {
			s := sample{Seconds: float64(60 * i), Broker: broker, AtRest: true, Resident: 30e6, Descriptors: 40, Goroutines: 60, Disk: 50e6, Sent: uint64(1000 * (i + 1))}
			if broker == "gateway" && i >= n-n/3 {
				s.Resident = int64(float64(s.Resident) * grown)
				s.Descriptors = int(float64(s.Descriptors) * grown)
				s.Goroutines = int(float64(s.Goroutines) * grown)
				s.Disk = int64(float64(s.Disk) * grown)
			}
			c.samples = append(c.samples, s)
		}
	}
	return c
}

// young is rests of a gateway that is killed every minute but near the end, so that
// what grows is one that has become older.
func young(n int) *course {
	c := &course{}
	for _, s := range rests(n, 2).samples {
		if s.Seconds < float64(60*(n-1)) && s.Broker == "gateway" {
			c.samples = append(c.samples, sample{Seconds: s.Seconds, Event: "gateway killed"})
		}
		c.samples = append(c.samples, s)
	}
	return c
}

func TestMustBeFlat(t *testing.T) {
	for name, tc := range map[string]struct {
		course *course
		broken uint64
	}{
		"flat":               {rests(9, 1), 0},
		"a little more":      {rests(9, 1.2), 0},
		"twice as much":      {rests(9, 2), 4},
		"young":              {young(9), 0},
		"too short to tell":  {rests(2, 5), 0},
		"nothing was looked": {&course{}, 0},
	} {
		b := newBooks(newTrace())
		b.mustBeFlat(tc.course)
		if b.broken[flat] != tc.broken {
			t.Errorf("%s: %d are called growing, want %d: %v", name, b.broken[flat], tc.broken, b.found)
		}
	}
}

// TestCourseInPieces: a second piece goes on where the first has ended, and both are
// in one picture, which is XML.
func TestCourseInPieces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "course")
	for piece := range 2 {
		c, err := openCourse(file)
		if err != nil {
			t.Fatal(err)
		}
		c.before += 3600 // of work
		for _, s := range rests(6, 1).samples {
			c.add(s)
		}
		c.event("gateway killed")
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		list, err := readCourse(file)
		if err != nil {
			t.Fatal(err)
		}
		if last := list[len(list)-1].Seconds; last < float64(3600*(piece+1)) || last > float64(3600*(piece+1)+600) {
			t.Errorf("after piece %d it ends at %v s", piece+1, last)
		}
	}
	picture := filepath.Join(t.TempDir(), "long.svg")
	if err := drawCourses([]string{file}, picture); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "2.0 hours in 2 pieces: 2 kills and restarts, 0 outages") {
		t.Errorf("the headline is wrong:\n%.600s", text)
	}
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if list, err := readCourses([]string{file, file}); err != nil || list[len(list)-1].Seconds < 4*3600 {
		t.Errorf("twice the same: %v, up to %v", err, list[len(list)-1])
	}
	if _, err := drawSamples([]sample{{Event: newPiece}}); !errors.Is(err, errNothingSeen) {
		t.Errorf("a picture of nothing: %v", err)
	}
}

// The ticks of time are round, and neither many nor few.
func TestTicksOfTime(t *testing.T) {
	for end := 3.0; end < 1e6; end *= 1.1 {
		step := tickStep(end)
		if n := end / step; n > ticksAcross || n < 1 {
			t.Errorf("%.0f s: %.1f ticks of %.0f s", end, n, step)
		}
	}
	for seconds, want := range map[float64]string{0: "0", 15: "15 s", 300: "5 min", 5400: "1.5 h", 43200: "12 h"} {
		if got := tickWords(seconds); got != want {
			t.Errorf("%v: %q, want %q", seconds, got, want)
		}
	}
}
