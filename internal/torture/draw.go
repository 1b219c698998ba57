package main

import (
	"errors"
	"fmt"
	"html"
	"math"
	"os"
	"strings"
)

// The size of a panel of the picture, and where its frame lies in it, in pixels.
const (
	panelWidth, panelHeight               = 860, 170
	marginLeft, marginRight               = 76, 20
	marginTop, marginBottom               = 28, 26
	pictureTop                            = 56
	ticksAcross                           = 7 // at most
	ticksUp                               = 5
	colourGateway, colourFar, colourEvent = "c0", "c1", "ev"
)

// pictureStyle follows the reader's choice of a light or a dark page.
const pictureStyle = `.page{fill:#fff}text{fill:#222}.grid{stroke:#ccc}.ev{stroke:#d8b4b4}.c0{stroke:#0072b2}.c1{stroke:#d55e00}polyline{fill:none}` +
	`@media(prefers-color-scheme:dark){.page{fill:#111}text{fill:#ddd}.grid{stroke:#444}.ev{stroke:#6b4444}.c0{stroke:#56b4e9}.c1{stroke:#ff9a4d}}`

var errNothingSeen = errors.New("it holds no samples")

// drawCourses writes the picture of courses: a panel for each quantity, with both
// brokers, and a line for each kill and each restart.
func drawCourses(courses []string, out string) error {
	samples, err := readCourses(courses)
	if err != nil {
		return err
	}
	picture, err := drawSamples(samples)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(courses, ", "), err)
	}
	return os.WriteFile(out, []byte(picture), 0o644)
}

func drawSamples(samples []sample) (string, error) {
	var end float64
	var sent uint64
	events := map[string]int{}
	pieces := []float64{}
	for _, s := range samples {
		end = max(end, s.Seconds)
		switch s.Event {
		case "":
			sent = max(sent, s.Sent)
		case newPiece:
			pieces = append(pieces, s.Seconds)
		default:
			events[s.Event]++
		}
	}
	if sent == 0 {
		return "", errNothingSeen
	}
	list := quantities()
	height := pictureTop + len(list)*panelHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12" role="img">
<title>A long run</title>
<style>%s</style>
<rect class="page" width="%d" height="%d"/>
<text x="%d" y="22" font-size="15" font-weight="bold">%s</text>
`, panelWidth, height, panelWidth, height, pictureStyle, panelWidth, height, marginLeft, html.EscapeString(headline(end, len(pieces), events)))
	for i, name := range []string{"gateway", "broker behind its uplink", "restarted or killed"} {
		x := marginLeft + i*210
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="40" y2="40" class="%s" stroke-width="3"/><text x="%d" y="44">%s</text>`+"\n",
			x, x+20, []string{colourGateway, colourFar, colourEvent}[i], x+26, name)
	}
	for i, q := range list {
		drawPanel(&b, q, samples, end, pictureTop+i*panelHeight)
	}
	b.WriteString("</svg>\n")
	return b.String(), nil
}

// headline says what the picture is of.
func headline(end float64, pieces int, events map[string]int) string {
	kills, reloads, outages := 0, 0, 0
	for what, n := range events {
		switch {
		case strings.HasPrefix(what, "far"):
			outages += n
		case what == "reload":
			reloads += n
		default:
			kills += n
		}
	}
	in := ""
	if pieces > 1 {
		in = fmt.Sprintf(" in %d pieces", pieces)
	}
	return fmt.Sprintf("%.1f hours%s: %d kills and restarts, %d outages of the uplink, %d reloads", end/3600, in, kills, outages, reloads)
}

func drawPanel(b *strings.Builder, q quantity, samples []sample, end float64, top int) {
	most := 0.0
	for _, s := range samples {
		if s.Broker != "" {
			most = max(most, q.of(s)/q.unit)
		}
	}
	most = roundUp(most)
	bottom := top + panelHeight - marginBottom
	x := func(seconds float64) float64 {
		return marginLeft + seconds/end*(panelWidth-marginLeft-marginRight)
	}
	y := func(v float64) float64 { return float64(bottom) - v/most*float64(bottom-top-marginTop) }
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", marginLeft, top+marginTop-8, html.EscapeString(q.name))
	for i := range ticksUp + 1 {
		v := most * float64(i) / ticksUp
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n",
			marginLeft, panelWidth-marginRight, y(v), y(v), marginLeft-8, y(v)+4, v)
	}
	for at, step := 0.0, tickStep(end); at <= end; at += step {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(at), bottom+16, tickWords(at))
	}
	for _, s := range samples {
		if s.ends("gateway") {
			fmt.Fprintf(b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", colourEvent, x(s.Seconds), x(s.Seconds), top+marginTop, bottom)
		}
	}
	for _, line := range []struct{ broker, colour string }{{"far", colourFar}, {"gateway", colourGateway}} {
		var path []string
		draw := func() {
			if len(path) > 0 {
				fmt.Fprintf(b, `<polyline class="%s" stroke-width="1.2" points="%s"/>`+"\n", line.colour, strings.Join(path, " "))
			}
			path = nil
		}
		for _, s := range samples {
			switch {
			case s.Event == newPiece:
				draw() // what was between the pieces nobody has seen
			case s.Broker == line.broker:
				path = append(path, fmt.Sprintf("%.1f,%.1f", x(s.Seconds), y(q.of(s)/q.unit)))
			}
		}
		draw()
	}
}

// roundUp is the next number above v that has one or two digits.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(v))) / 2
	return math.Ceil(v/step) * step
}

// tickStep is how many seconds lie between the ticks of an axis of time.
func tickStep(end float64) float64 {
	for _, step := range []float64{1, 5, 15, 60, 5 * 60, 15 * 60, 30 * 60, 3600, 2 * 3600} {
		if end/step <= ticksAcross {
			return step
		}
	}
	return math.Ceil(end/ticksAcross/(6*3600)) * 6 * 3600
}

func tickWords(seconds float64) string {
	switch {
	case seconds >= 3600:
		return fmt.Sprintf("%.3g h", seconds/3600)
	case seconds >= 60:
		return fmt.Sprintf("%.3g min", seconds/60)
	case seconds > 0:
		return fmt.Sprintf("%.0f s", seconds)
	}
	return "0"
}
