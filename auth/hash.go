package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// hash is a salted password hash of one kind. It is immutable.
type hash interface {
	// matches reports whether password is the one, in a time that depends on
	// kind alone.
	matches(password []byte) bool
	// kind is the algorithm and its parameters. Hashes of equal kind cost the
	// same to verify.
	kind() string
	// memory is how many bytes matches needs.
	memory() int64
	// dummy is a hash of equal kind that no password matches.
	dummy() hash
}

// Parameters of new hashes: argon2id with 7 MiB, five passes, one lane. That
// is as hard to guess as the 19 MiB and two passes that are often advised, for as
// much processor time, in a third of the memory.
const (
	newMemory  = 7 << 10 // KiB
	newPasses  = 5
	newLanes   = 1
	newSaltLen = 16
	newKeyLen  = 32
)

// Bounds of the parameters of hashes that are read. The memory of argon2id is
// bounded by [VerifierLimits].
const (
	maxPasses      = 16
	maxLanes       = 4
	maxBcryptCost  = 14
	maxIterations  = 1_000_000
	maxSaltLen     = 64
	minArgonSalt   = 8
	minArgonKey    = 16
	maxArgonKey    = 64
	minArgonMemory = 8 // KiB per lane
)

// HashPassword returns the line entry for password: argon2id in PHC form. An
// empty password is an error. It takes as long as a login.
func HashPassword(password Secret) (string, error) {
	if len(password.Reveal()) == 0 {
		return "", errors.New("password is empty")
	}
	h := argonHash{newMemory, newPasses, newLanes, randomBytes(newSaltLen), nil}
	h.key = h.derive(password.Reveal(), newKeyLen)
	return h.String(), nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// parseHash reads a hash. Its errors say how to mend it and contain none of it.
func parseHash(s string, limit int64) (hash, error) {
	switch {
	case strings.ContainsAny(s, "\r\n"): // base64 skips them
		return nil, errors.New("hash is not on one line")
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s, limit)
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$6$"):
		return parseSHA512(s)
	case strings.HasPrefix(s, "$7$"):
		return parsePBKDF2(s)
	}
	return nil, errors.New("hash is of an unknown kind; known are argon2id, bcrypt and mosquitto's $6$ and $7$")
}

// number reads a decimal without sign or leading zeros.
func number(s string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && (n < low || n > high) {
		return 0, fmt.Errorf("is outside %d to %d", low, high)
	}
	if err != nil || s != strconv.FormatUint(n, 10) {
		return 0, errors.New("is not a number")
	}
	return n, nil
}

// argonHash is argon2id, version 19.
type argonHash struct {
	kib    uint32 // memory in KiB
	passes uint32
	lanes  uint8
	salt   []byte
	key    []byte
}

func parseArgon(s string, limit int64) (hash, error) {
	broken := errors.New("argon2id hash is not of the form $argon2id$v=19$m=...,t=...,p=...$salt$hash")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, broken
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return nil, broken
	}
	limit = min(limit>>10, 1<<31)
	bounds := [3]struct {
		name string
		high uint64
	}{{"m=", uint64(limit)}, {"t=", maxPasses}, {"p=", maxLanes}}
	var got [3]uint64
	for i, b := range bounds {
		digits, found := strings.CutPrefix(params[i], b.name)
		if !found {
			return nil, broken
		}
		var err error
		if got[i], err = number(digits, 1, b.high); err != nil {
			return nil, fmt.Errorf("argon2id parameter %s %w", strings.TrimSuffix(b.name, "="), err)
		}
	}
	if low := minArgonMemory * got[2]; got[0] < low {
		return nil, fmt.Errorf("argon2id parameter m is below %d for p=%d", low, got[2])
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	if err != nil || len(salt) < minArgonSalt || len(salt) > maxSaltLen {
		return nil, broken
	}
	key, err := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err != nil || len(key) < minArgonKey || len(key) > maxArgonKey {
		return nil, broken
	}
	return &argonHash{uint32(got[0]), uint32(got[1]), uint8(got[2]), salt, key}, nil
}

func (h *argonHash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.kib, h.passes, h.lanes, b64(h.salt), b64(h.key))
}

func (h *argonHash) derive(password []byte, size int) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.kib, h.lanes, uint32(size))
}

func (h *argonHash) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1
}

func (h *argonHash) kind() string {
	return fmt.Sprintf("argon2id m=%d,t=%d,p=%d", h.kib, h.passes, h.lanes)
}

func (h *argonHash) memory() int64 { return int64(h.kib) << 10 }

func (h *argonHash) dummy() hash {
	return never{&argonHash{h.kib, h.passes, h.lanes, randomBytes(len(h.salt)), randomBytes(len(h.key))}}
}

// never is a hash that works as hard as its own but matches nothing.
type never struct{ hash }

func (h never) matches(password []byte) bool {
	h.hash.matches(password)
	return false
}
