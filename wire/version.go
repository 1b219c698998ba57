package wire

import "strconv"

// Version is the protocol level of CONNECT.
type Version byte

// The protocol levels that this package speaks.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

// String returns "3.1", "3.1.1" or "5"; other levels as "level 7".
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return "level " + strconv.Itoa(int(v))
}
