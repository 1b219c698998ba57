package auth

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxSecret is how many bytes a file with a secret may have.
const MaxSecret = 64 << 10

// ReadSecret reads the secret in the first line of the file at path, without
// blanks around it. As for [LoadPasswordFile], a file that others may read or
// write is an error. No error says anything of what is in the file.
func ReadSecret(path string) (Secret, error) {
	data, _, err := readFile(path, MaxSecret, secretFile)
	if err != nil {
		return Secret{}, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	secret, err := ParseSecret(line)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// ParseSecret is the secret in text, without blanks around it. It refuses one
// that is empty, or that holds control characters, since no header, line or
// prompt can carry those. The error says nothing of text.
func ParseSecret(text []byte) (Secret, error) {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return Secret{}, errors.New("its first line is empty; write the secret there")
	case len(text) > MaxSecret:
		return Secret{}, fmt.Errorf("is longer than %d KiB; is it the right one?", MaxSecret>>10)
	case bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return Secret{}, errors.New("holds a control character; is it the right one?")
	}
	return NewSecret(bytes.Clone(text)), nil
}
