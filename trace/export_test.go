package trace

// MaxState is the bound of what a trace remembers, in bytes.
const MaxState = maxState

// State is what a trace remembers, in bytes.
func State(t *Trace) int64 { return t.state.Load() }

// Meet reports whether two filters have a topic in common.
func Meet(a, b string) bool { return meet(a, b) }
