package store

import "time"

// Budget is the policy of the bytes of a day.
type Budget struct{ b budget }

// NewBudget allows daily bytes; base is the window within them.
func NewBudget(daily uint64, base time.Duration) *Budget {
	return &Budget{budget{daily: daily, base: base}}
}

// Look is budget.look.
func (b *Budget) Look(clock time.Duration, written uint64) (time.Duration, bool) {
	return b.b.look(clock, written)
}

// EncodeWear and DecodeWear are the record.
func EncodeWear(w Wear) []byte          { return appendWear(nil, w) }
func DecodeWear(b []byte) (Wear, error) { return decodeWear(b) }
