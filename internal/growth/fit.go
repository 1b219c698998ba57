package main

import "math"

// steepest is the exponent that the last two decades of a curve may have. n log n has
// 1.1 between 10,000 and 1,000,000; the rest is for the caches of processors, which
// large sizes leave, and for noise. n*n has 2.
const steepest = 1.4

// exponent is the slope of the upper two decades of a curve in a plot of logarithms,
// by least squares; small sizes show what does not depend on the size.
func exponent(points []point) float64 {
	last := points[len(points)-1].n
	var n, sx, sy, sxx, sxy float64
	for i, p := range points {
		if p.n*100 < last && i < len(points)-2 {
			continue
		}
		x, y := math.Log10(p.n), math.Log10(p.value)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// spread is the least and the greatest value.
func spread(points []point) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, p := range points {
		low, high = min(low, p.value), max(high, p.value)
	}
	return low, high
}
