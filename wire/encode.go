package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// appendFrame appends a packet of type t with the given flags and body, the
// body in parts. It appends nothing if the body exceeds what a packet holds.
func appendFrame(dst []byte, t Type, flags byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > maxVarint {
		return dst
	}
	dst = appendVarint(append(dst, byte(t)<<4|flags), n)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

// appendText appends s with its length, cut at a character boundary to what
// the length can express.
func appendText(dst []byte, s string) []byte {
	if len(s) > maxString {
		n := maxString
		for n > maxString-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendBinary(dst, b []byte) []byte {
	b = b[:min(len(b), maxString)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b)))
	return append(dst, b...)
}

func appendBoolProp(dst []byte, id byte, v bool) []byte {
	if v {
		return append(dst, id, 1)
	}
	return append(dst, id, 0)
}

func appendU16Prop(dst []byte, id byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, id), v)
}

func appendU32Prop(dst []byte, id byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, id), v)
}

func appendTextProp(dst []byte, id byte, s string) []byte {
	return appendText(append(dst, id), s)
}

// appendTextPropSome leaves an empty string out.
func appendTextPropSome(dst []byte, id byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendTextProp(dst, id, s)
}

func appendUserProps(dst []byte, props []UserProperty) []byte {
	for _, u := range props {
		dst = appendText(appendText(append(dst, propUser), u.Key), u.Value)
	}
	return dst
}

// withLength returns a property section with its length in front.
func withLength(props []byte) []byte {
	return append(appendVarint(make([]byte, 0, 4+len(props)), len(props)), props...)
}
