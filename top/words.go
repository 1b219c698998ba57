package top

import (
	"fmt"
	"math"
	"time"
)

// short writes an amount in at most five characters: "0.12", "9.5", "8120",
// "12.3k", "4.5M".
func short(v float64) string {
	if v >= 999.5 && v < 9999.5 {
		return fmt.Sprintf("%.0f", v)
	}
	return scaled(v, 1000, []string{"", "k", "M", "G", "T", "P", "E"})
}

// shortBytes writes a number of bytes in at most six characters, in binary units.
func shortBytes(v float64) string {
	return scaled(v, 1024, []string{"B", "K", "M", "G", "T", "P", "E"})
}

func scaled(v, base float64, units []string) string {
	v = max(v, 0)
	for i, unit := range units {
		whole := v == math.Trunc(v) && i == 0
		switch {
		case whole && v < base:
			return fmt.Sprintf("%.0f%s", v, unit)
		case v < 0.995 && i == 0:
			return fmt.Sprintf("%.2f%s", v, unit)
		case v < 99.95:
			return fmt.Sprintf("%.1f%s", v, unit)
		case v < base-0.5 || i == len(units)-1:
			return fmt.Sprintf("%.0f%s", v, unit)
		}
		v /= base
	}
	return ""
}

// amount is short for a number of things.
func amount[N int | int64 | uint64](n N) string {
	if n < 10_000 {
		return fmt.Sprint(max(n, 0))
	}
	return short(float64(n))
}

// span writes a duration in at most six characters: "3d04h", "2h05m", "4m10s",
// "12s".
func span(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s >= 100*86400:
		return fmt.Sprintf("%dd", s/86400)
	case s >= 86400:
		return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// brief writes a short duration: "64us", "4ms", "1.0s".
func brief(s float64) string {
	switch {
	case s < 1e-3:
		return fmt.Sprintf("%.0fus", s*1e6)
	case s < 1:
		return fmt.Sprintf("%.0fms", s*1e3)
	}
	return fmt.Sprintf("%.1fs", s)
}

// plural words a number of things.
func plural[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return amount(n) + " " + noun + "s"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func escaped(r rune) string { return fmt.Sprintf(`\u{%x}`, r) }

// roughly sorts rates into steps of 12%, of which 1, 2, 5 and their tenfolds are the
// middle.
func roughly(v float64) int {
	if v <= 0.01 {
		return math.MinInt
	}
	return int(math.Round(20 * math.Log10(v)))
}
