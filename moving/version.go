package moving

import (
	"fmt"
	"strings"
)

// Version is the version of mosquitto that a configuration is for, as far as it
// matters.
type Version int

// The versions.
const (
	Unknown Version = iota // what is not the same in all of them is converted as is safest
	V1                     // up to 1.6: whoever is not kept out comes in
	V20                    // 2.0
	V21                    // 2.1 and later
)

// ParseVersion reads a version such as 1.6.9, 2 or 2.0.11.
func ParseVersion(s string) (Version, error) {
	major, rest, _ := strings.Cut(s, ".")
	minor, _, _ := strings.Cut(rest, ".")
	switch {
	case s == "":
		return Unknown, nil
	case major == "1" || major == "0":
		return V1, nil
	case major == "2" && minor == "0":
		return V20, nil
	case major == "2" && minor == "":
		return Unknown, fmt.Errorf("%q could be 2.0 or 2.1, which differ", s)
	case major == "2":
		return V21, nil
	}
	return Unknown, fmt.Errorf("%q is not a version of mosquitto; write it like 2.0.11", s)
}
