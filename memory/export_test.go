package memory

// Levels returns where the levels begin: percent of the budget.
func Levels() map[Level]int {
	m := make(map[Level]int)
	for l := Guarded; l <= Severe; l++ {
		m[l] = int(beginsAt[l])
	}
	return m
}
