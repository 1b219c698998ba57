package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The size of a plot, and where its frame lies in it, in pixels.
const (
	width, height            = 720, 420
	left, right, top, bottom = 90, 48, 84, 52
)

// style follows the reader's choice of a light or a dark page. The colours of curves
// are told apart by those who see no red, too.
const style = `.page{fill:#fff}text{fill:#222}.grid{stroke:#ccc}` +
	`.c0{fill:#0072b2;stroke:#0072b2}.c1{fill:#d55e00;stroke:#d55e00}.c2{fill:#009e73;stroke:#009e73}.c3{fill:#b0589a;stroke:#b0589a}polyline{fill:none!important}` +
	`@media(prefers-color-scheme:dark){.page{fill:#111}text{fill:#ddd}.grid{stroke:#444}` +
	`.c0{fill:#56b4e9;stroke:#56b4e9}.c1{fill:#ff9a4d;stroke:#ff9a4d}.c2{fill:#2fd0a0;stroke:#2fd0a0}.c3{fill:#e3a0c8;stroke:#e3a0c8}}`

// svg draws p, which has at most four curves, with logarithmic axes.
func (p plot) svg() string {
	minX, maxX, minY, maxY := p.bounds()
	x := func(n float64) float64 {
		return left + (math.Log10(n)-minX)/(maxX-minX)*(width-left-right)
	}
	y := func(v float64) float64 {
		return height - bottom - (math.Log10(v)-minY)/(maxY-minY)*(height-top-bottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="13" role="img">
<title>%s</title>
<style>%s</style>
<rect class="page" width="%d" height="%d"/>
<text x="%d" y="22" font-size="16" font-weight="bold">%s</text>
`, width, height, width, height, html.EscapeString(p.title), style, width, height, left, html.EscapeString(p.title))
	for e := minX; e <= maxX; e++ {
		n := math.Pow(10, e)
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x(n), x(n), top, height-bottom, x(n), height-bottom+18, count(n))
	}
	for e := minY; e <= maxY; e++ {
		v := math.Pow(10, e)
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, width-right, y(v), y(v), left-8, y(v)+4, p.unit.word(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-12, html.EscapeString(p.across))
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, p.unit)
	for i, c := range p.curves {
		var path []string
		for _, pt := range c.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x(pt.n), y(pt.value)))
			fmt.Fprintf(&b, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`, i, x(pt.n), y(pt.value))
		}
		fmt.Fprintf(&b, `<polyline class="c%d" stroke-width="2" points="%s"/>`+"\n", i, strings.Join(path, " "))
		lx, ly := left+i%2*310, 44+i/2*20
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%d" y2="%d" class="c%d" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n",
			lx, lx+20, ly-4, ly-4, i, lx+26, ly, html.EscapeString(c.label))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// bounds are the powers of ten between which all points lie.
func (p plot) bounds() (minX, maxX, minY, maxY float64) {
	minX, minY, maxX, maxY = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, c := range p.curves {
		for _, pt := range c.points {
			minX, maxX = min(minX, math.Log10(pt.n)), max(maxX, math.Log10(pt.n))
			minY, maxY = min(minY, math.Log10(pt.value)), max(maxY, math.Log10(pt.value))
		}
	}
	minY, maxY = math.Floor(minY), math.Ceil(maxY)
	if maxY-minY < 2 { // what is flat shall look flat
		maxY = minY + 2
	}
	return math.Floor(minX), math.Ceil(maxX), minY, maxY
}
