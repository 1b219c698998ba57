package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// ByteSize is a number of bytes. As text it always has a unit: B, KB, MB, GB
// (powers of 1000) or KiB, MiB, GiB (powers of 1024).
type ByteSize int64

// Common sizes.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
)

// String is the size in the largest unit that expresses it exactly;
// [ParseByteSize] reads it back unchanged.
func (b ByteSize) String() string {
	for _, u := range []struct {
		size ByteSize
		name string
	}{{GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "KB"}} {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText is String.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseByteSize.
func (b *ByteSize) UnmarshalText(text []byte) error {
	v, err := ParseByteSize(string(text))
	if err == nil {
		*b = v
	}
	return err
}

// ParseByteSize reads a size with its unit, such as "64KiB" or "1.5 MB". A
// number without a unit is refused: nobody can tell what was meant.
func ParseByteSize(s string) (ByteSize, error) {
	m := regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)$`).FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%s is not a size; write a number and a unit, such as 64KiB or 1MB", quoteShort(s))
	}
	switch strings.ToLower(m[2]) {
	case "b", "kb", "kib", "mb", "mib", "gb", "gib":
	case "":
		return 0, fmt.Errorf("%s has no unit; write it with one, such as %sKiB or %sMB (or %sB for bytes)", quoteShort(s), m[1], m[1], m[1])
	default:
		return 0, fmt.Errorf("%s has an unknown unit; use B, KB, KiB, MB, MiB, GB or GiB", quoteShort(s))
	}
	v, err := humanize.ParseBytes(s)
	if err != nil || v > math.MaxInt64 {
		return 0, fmt.Errorf("%s is too large a size", quoteShort(s))
	}
	return ByteSize(v), nil
}

const day = 24 * time.Hour

// ParseDuration reads a duration as the config file has it: see there.
func ParseDuration(s string) (time.Duration, error) { return parseDuration(s) }

// parseDuration reads what time.ParseDuration reads, and days before it:
// "7d", "1d12h". A number without a unit is refused, 0 too.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("%s has no unit; write it with one, such as %ss, %sm, %sh or %sd", quoteShort(s), s, s, s, s)
	}
	bad := fmt.Errorf("%s is not a duration; write numbers with units, such as 500ms, 5s, 10m, 1h30m or 7d", quoteShort(s))
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > uint64(math.MaxInt64/day) {
		return 0, fmt.Errorf("%s is too long a duration; the longest is %dd", quoteShort(s), math.MaxInt64/day)
	}
	if err != nil {
		return 0, bad
	}
	d := time.Duration(n) * day
	if found && rest == "" {
		return d, nil
	}
	r, err := time.ParseDuration(rest)
	if err != nil || r < 0 {
		return 0, bad
	}
	if r > math.MaxInt64-d {
		return 0, fmt.Errorf("%s is too long a duration; the longest is %dd", quoteShort(s), math.MaxInt64/day)
	}
	return d + r, nil
}

// parseMode reads a file mode as chmod does: always octal, with or without
// the leading 0 or 0o.
func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return 0, fmt.Errorf("%s is not a file mode; write it as for chmod, such as 0660", quoteShort(s))
	}
	return fs.FileMode(n), nil
}

// quoteShort quotes what somebody wrote for an error message, cut where it
// would fill the screen.
func quoteShort(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strconv.Quote(s)
}
