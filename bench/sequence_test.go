package bench

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSequence(t *testing.T) {
	tests := []struct {
		name                 string
		arrivals             []uint64
		sent                 uint64
		lost, reordered, dup uint64
	}{
		{"in order", []uint64{0, 1, 2, 3}, 4, 0, 0, 0},
		{"nothing sent", nil, 0, 0, 0, 0},
		{"nothing arrived", nil, 3, 3, 0, 0},
		{"end missing", []uint64{0, 1}, 5, 3, 0, 0},
		{"start missing", []uint64{2, 3}, 4, 2, 0, 0},
		{"gap", []uint64{0, 3}, 4, 2, 0, 0},
		{"swapped", []uint64{1, 0, 2}, 3, 0, 1, 0},
		{"late into a gap's middle", []uint64{0, 5, 3}, 6, 3, 1, 0},
		{"gap filled", []uint64{0, 4, 1, 3, 2}, 5, 0, 3, 0},
		{"repeated", []uint64{0, 0, 1, 1}, 2, 0, 0, 2},
		{"late twice", []uint64{1, 0, 0}, 2, 0, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s sequence
			for _, n := range tt.arrivals {
				s.see(n)
			}
			if s.lost(tt.sent) != tt.lost || s.reordered != tt.reordered || s.duplicates != tt.dup {
				t.Errorf("lost %d, reordered %d, repeated %d", s.lost(tt.sent), s.reordered, s.duplicates)
			}
		})
	}
}

// TestSequenceAgainstSet compares with the obvious bookkeeping.
func TestSequenceAgainstSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sent = 40
		arrivals := rapid.SliceOf(rapid.Uint64Range(0, sent-1)).Draw(t, "arrivals")
		var s sequence
		seen := map[uint64]bool{}
		top := uint64(0)
		reordered, dup := uint64(0), uint64(0)
		for _, n := range arrivals {
			s.see(n)
			switch {
			case seen[n]:
				dup++
			case n < top:
				reordered++
			}
			seen[n] = true
			top = max(top, n+1)
		}
		if got := s.lost(sent); got != sent-uint64(len(seen)) || s.reordered != reordered || s.duplicates != dup {
			t.Fatalf("lost %d, reordered %d, repeated %d; want %d, %d, %d",
				got, s.reordered, s.duplicates, sent-len(seen), reordered, dup)
		}
	})
}
