package bridge

// A gateway and a bucket agree on a topic in steps, each of which looks at what
// both have now, and decides what is to be done. No step relies on the one
// before, and the bucket takes a change only in place of what was looked at.

// step is what is to be done about one topic.
type step byte

const (
	rest  step = iota // both agree, or nothing may be done
	put               // the bucket is to have what is here, or a mark of deletion
	bring             // this broker is to have what the bucket has
)

// judgement is what a step is decided by.
type judgement struct {
	here    bucketLocal
	there   bucketEntry
	mayPut  bool // a rule lets it go out
	mayTake bool // a rule lets it come in
	// changed says that what is here is to be told to the bucket, though it may have
	// the same from earlier.
	changed bool
	// after says that what the bucket has was here already before clients made of it
	// what is here.
	after bool
	// before says that the bucket had what is here already before it had what it has.
	before bool
}

// step decides. What this gateway has put into the bucket is older than what
// clients have made of it here; what another has put there counts by the time
// at which it was published.
func (j *judgement) step() step {
	switch {
	case j.agree():
		return rest
	case !j.here.made:
		return j.taken()
	case j.there.rev > 0 && !j.there.own && !j.after && (j.before || !j.here.stamp.After(j.there.stamp)):
		return j.taken()
	case j.mayPut:
		return put
	}
	return rest
}

func (j *judgement) taken() step {
	if j.mayTake {
		return bring
	}
	return rest
}

// agree reports whether both have the same. Where clients have published that once
// more, the bucket is to know when.
func (j *judgement) agree() bool {
	has := j.there.rev > 0 && !j.there.gone
	switch {
	case j.here.has != has:
		return false
	case has && (j.here.digest != j.there.digest || j.here.expires.IsZero() != j.there.expires.IsZero() ||
		j.here.expires.Sub(j.there.expires).Abs() > sameExpiry):
		return false
	}
	return !j.changed || !j.mayPut || !j.here.made || j.here.stamp.IsZero() || j.here.stamp.Sub(j.there.stamp) <= sameMoment
}
