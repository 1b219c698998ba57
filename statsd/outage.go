package statsd

// outage tells when to speak of a server to which reports go: at the first
// failure of several, and when that is over.
type outage struct {
	steady  int  // reports that must go well before that is believed
	failing bool // that has been said
	well    int  // reports since that went well
}

// note takes in how a report went. began: it is the first that failed; over:
// reports go well again.
func (o *outage) note(failed bool) (began, over bool) {
	if failed {
		o.well = 0
		began, o.failing = !o.failing, true
		return began, false
	}
	if o.well++; o.failing && o.well >= o.steady {
		o.failing = false
		return false, true
	}
	return false, false
}
