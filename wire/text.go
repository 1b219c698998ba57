package wire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Masks to look at eight bytes at once. For a byte below 0x80, subtracting 1
// sets the top bit only if it was zero; a borrow can spoil only the bytes
// above one that is already found.
const (
	swarOnes = 0x0101010101010101
	swarTops = 0x8080808080808080
	swarPlus = '+' * swarOnes
	swarHash = '#' * swarOnes
)

// fault tells what is wrong with a string; empty is sound.
type fault byte

const (
	sound fault = iota
	notUTF8
	holdsNull
	holdsWildcard
)

// checkText applies the rules of a UTF-8 encoded string. [MQTT-1.5.4-1]
// [MQTT-1.5.4-2] Control characters and U+FEFF are legal. [MQTT-1.5.4-3]
func checkText(b []byte) fault {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if (x|(x-swarOnes))&swarTops != 0 {
			return slowText(b[i:])
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == 0 || c >= 0x80 {
			return slowText(b[i:])
		}
	}
	return sound
}

// slowText is checkText for the rest of a string from a point where all
// before was ASCII.
func slowText(b []byte) fault {
	if bytes.IndexByte(b, 0) >= 0 {
		return holdsNull
	}
	if !utf8.Valid(b) { // surrogates are not valid either
		return notUTF8
	}
	return sound
}

// checkTopic is checkText for topic names, where + and # are illegal too.
func checkTopic(b []byte) fault {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if (x|(x-swarOnes)|((x^swarPlus)-swarOnes)|((x^swarHash)-swarOnes))&swarTops != 0 {
			return slowTopic(b[i:])
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == 0 || c >= 0x80 || c == '+' || c == '#' {
			return slowTopic(b[i:])
		}
	}
	return sound
}

func slowTopic(b []byte) fault {
	if f := slowText(b); f != sound {
		return f
	}
	if bytes.IndexByte(b, '+') >= 0 || bytes.IndexByte(b, '#') >= 0 {
		return holdsWildcard
	}
	return sound
}

// textError makes the error for a fault in the string called what.
func textError(f fault, what string) *Error {
	if f == holdsNull {
		return malformed("[MQTT-1.5.4-2]", what+" holds U+0000")
	}
	return malformed("[MQTT-1.5.4-1]", what+" is not valid UTF-8")
}
