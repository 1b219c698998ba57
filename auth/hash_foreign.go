package auth

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// bcryptHash is a crypt(3) string $2a$, $2b$ or $2y$, as htpasswd -B writes.
// As everywhere, only the first 72 bytes of a password count.
type bcryptHash struct {
	text string
	cost int
}

func parseBcrypt(s string) (hash, error) {
	const digits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(s) != 60 || s[6] != '$' || strings.Trim(s[7:], digits) != "" {
		return nil, errors.New("bcrypt hash is not of the form $2b$cost$ and 53 characters")
	}
	cost, err := number(strings.TrimPrefix(s[4:6], "0"), uint64(bcrypt.MinCost), maxBcryptCost)
	if err != nil {
		return nil, fmt.Errorf("bcrypt cost %w", err)
	}
	return &bcryptHash{s, int(cost)}, nil
}

func (h *bcryptHash) matches(password []byte) bool {
	return bcrypt.CompareHashAndPassword([]byte(h.text), password) == nil
}

func (h *bcryptHash) kind() string  { return fmt.Sprintf("bcrypt %d", h.cost) }
func (h *bcryptHash) memory() int64 { return 8 << 10 }
func (h *bcryptHash) dummy() hash   { return never{h} }

// mosquittoHash is what mosquitto_passwd writes: $6$salt$hash, the SHA-512 of
// password and salt, or $7$iterations$salt$hash, PBKDF2 with HMAC-SHA-512.
type mosquittoHash struct {
	iterations int // 0: $6$
	salt       []byte
	key        []byte
}

func parseSHA512(s string) (hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 4 {
		return nil, errors.New("hash is not of the form $6$salt$hash")
	}
	return parseMosquitto(0, parts[2], parts[3])
}

func parsePBKDF2(s string) (hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 5 {
		return nil, errors.New("hash is not of the form $7$iterations$salt$hash")
	}
	iterations, err := number(parts[2], 1, maxIterations)
	if err != nil {
		return nil, fmt.Errorf("number of iterations %w", err)
	}
	return parseMosquitto(int(iterations), parts[3], parts[4])
}

func parseMosquitto(iterations int, salt64, key64 string) (hash, error) {
	salt, err := base64.StdEncoding.Strict().DecodeString(salt64)
	if err != nil || len(salt) == 0 || len(salt) > maxSaltLen {
		return nil, fmt.Errorf("salt is not 1 to %d bytes in base64", maxSaltLen)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(key64)
	if err != nil || len(key) != sha512.Size {
		return nil, fmt.Errorf("hash is not %d bytes in base64", sha512.Size)
	}
	return &mosquittoHash{iterations, salt, key}, nil
}

func (h *mosquittoHash) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password), h.key) == 1
}

func (h *mosquittoHash) derive(password []byte) []byte {
	if h.iterations == 0 {
		d := sha512.New()
		d.Write(password)
		d.Write(h.salt)
		return d.Sum(nil)
	}
	key, err := pbkdf2.Key(sha512.New, string(password), h.salt, h.iterations, sha512.Size)
	if err != nil {
		return nil // matches nothing; only FIPS mode refuses short salts
	}
	return key
}

func (h *mosquittoHash) kind() string {
	if h.iterations == 0 {
		return "mosquitto $6$"
	}
	return fmt.Sprintf("mosquitto $7$ %d", h.iterations)
}

func (h *mosquittoHash) memory() int64 { return 4 << 10 }

func (h *mosquittoHash) dummy() hash {
	return never{&mosquittoHash{h.iterations, randomBytes(len(h.salt)), randomBytes(len(h.key))}}
}
