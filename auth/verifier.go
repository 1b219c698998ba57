package auth

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"

	"github.com/synthetism/edgebroker/internal/peer"
)

// VerifierLimits bounds what hashing passwords may use at once: Parallel times
// HashMemory bytes, and Parallel processors.
type VerifierLimits struct {
	// Parallel is how many verifications run at once. Raise it on a gateway
	// with cores and memory to spare, where logins after a power cut take too
	// long.
	Parallel int

	// Waiting is how many more may wait; others are ErrBusy at once. Half of it
	// is for one address, so that one cannot keep all others out.
	Waiting int

	// HashMemory is the largest memory, in bytes, that one hash of a password
	// file may ask for. Raise it to read hashes made elsewhere.
	HashMemory int64
}

// DefaultVerifierLimits returns limits that fit a gateway with 64 MB: two hashes
// at once, 14 MiB if made by [HashPassword], 38 MiB at worst.
func DefaultVerifierLimits() VerifierLimits {
	return VerifierLimits{Parallel: 2, Waiting: 64, HashMemory: 19 << 20}
}

// Verifier runs the verifications of all password files within its limits.
// It is made once and outlives the files. Its methods may be called from any
// goroutine.
type Verifier struct {
	limits VerifierLimits
	seed   maphash.Seed // which kind an unknown user looks like
	gate   *gate
	left   garbage
}

// NewVerifier returns a Verifier; each limit must be at least 1, HashMemory at
// least what [HashPassword] uses.
func NewVerifier(limits VerifierLimits) (*Verifier, error) {
	switch {
	case limits.Parallel < 1:
		return nil, errors.New("parallel verifications: must be at least 1")
	case limits.Waiting < 1:
		return nil, errors.New("waiting verifications: must be at least 1")
	case limits.HashMemory < newMemory<<10:
		return nil, errors.New("memory of a hash: must be at least 7 MiB, which new passwords use")
	}
	return &Verifier{limits: limits, seed: maphash.MakeSeed(), gate: newGate(limits.Parallel, limits.Waiting)}, nil
}

// Stats returns the counters of verifications at one instant.
func (v *Verifier) Stats() Load { return v.gate.load() }

// verify reports whether h matches password, when it is its turn. It returns
// ErrBusy at once if too many wait, and ctx's error if that ends before its turn.
func (v *Verifier) verify(ctx context.Context, addr netip.Addr, h hash, password []byte) (bool, error) {
	if err := v.gate.enter(ctx, peer.Network(addr)); err != nil {
		return false, err
	}
	defer v.gate.leave()
	match := h.matches(password)
	v.left.add(h.memory())
	return match, nil
}
