package auth

import "time"

const (
	ways         = 8    // entries of a bucket
	maxTolerance = 1000 // so that counts fit
)

// table counts failures by key, in fixed memory. A key that is 0 is never
// counted. It is set-associative: a key has a bucket, and in it one of a few
// entries. A bucket that is full gives the place of its mildest entry to a key
// if that has failed once and is not locked; else the key shares the bucket's
// overflow. What is displaced is counted there too. Times are since a fixed start.
type table struct {
	buckets  []bucket
	tolerate int
	most     int           // failures that are counted: more make no difference
	maxWait  time.Duration // of a lock
	leak     time.Duration // in which one failure is forgiven
}

type bucket struct {
	entries  [ways]entry
	overflow entry // of all keys without one; slows them
}

// entry is the failures of a key. The zero entry is free.
type entry struct {
	key      uint64
	failures int32
	leaked   time.Duration // up to when failures have been forgiven
	until    time.Duration // locked
}

func newTable(entries, tolerate int, maxWait time.Duration) table {
	t := table{
		buckets:  make([]bucket, (entries+ways-1)/ways),
		tolerate: tolerate,
		maxWait:  maxWait,
		leak:     forgetAfter / time.Duration(tolerate),
	}
	for t.most = tolerate + 1; t.penalty(t.most) < maxWait; t.most++ {
	}
	return t
}

// penalty is how long a key with so many failures is locked.
func (t *table) penalty(failures int) time.Duration {
	over := failures - t.tolerate
	if over <= 0 {
		return 0
	}
	if over > 20 {
		return t.maxWait
	}
	return min(firstWait<<(over-1), t.maxWait)
}

func (t *table) bucket(key uint64) *bucket {
	return &t.buckets[(key>>32)*uint64(len(t.buckets))>>32]
}

// forget forgives what time has forgiven.
func (t *table) forget(e *entry, now time.Duration) {
	n := (now - e.leaked) / t.leak
	if n <= 0 {
		return
	}
	e.leaked += n * t.leak
	e.failures -= int32(min(n, time.Duration(e.failures)))
	if e.failures == 0 && e.until <= now {
		*e = entry{}
	}
}

// find is the entry of key, or nil.
func (t *table) find(key uint64, now time.Duration) *entry {
	if key == 0 {
		return nil
	}
	b := t.bucket(key)
	for i := range b.entries {
		if e := &b.entries[i]; e.key == key {
			if t.forget(e, now); e.key == 0 {
				return nil
			}
			return e
		}
	}
	return nil
}

// locked is how long key stays locked.
func (t *table) locked(key uint64, now time.Duration) time.Duration {
	if e := t.find(key, now); e != nil {
		return e.until - now
	}
	return 0
}

// spend locks a key that is past the tolerance for the attempt that is let
// through now, so that those beside it are not. It returns until when, or 0.
func (t *table) spend(key uint64, now time.Duration) time.Duration {
	e := t.find(key, now)
	if e == nil || int(e.failures) <= t.tolerate {
		return 0
	}
	e.until = now + t.penalty(int(e.failures))
	return e.until
}

// refund takes back what spend has returned, unless somebody has failed since.
func (t *table) refund(key uint64, until, now time.Duration) {
	if e := t.find(key, now); e != nil && until != 0 && e.until == until {
		e.until = now
	}
}

// fail counts a failure and returns how many there are now.
func (t *table) fail(key uint64, now time.Duration) int {
	if key == 0 {
		return 0
	}
	e := t.find(key, now)
	if e == nil {
		e = t.place(key, now)
	}
	if int(e.failures) < t.most {
		e.failures++
	}
	if e.key != 0 {
		e.until = max(e.until, now+t.penalty(int(e.failures)))
	}
	return int(e.failures)
}

// place is a new entry for key, or the overflow of its bucket.
func (t *table) place(key uint64, now time.Duration) *entry {
	b := t.bucket(key)
	mildest := &b.entries[0]
	for i := range b.entries {
		e := &b.entries[i]
		t.forget(e, now)
		if e.key == 0 {
			mildest = e
			break
		}
		if e.failures < mildest.failures || e.failures == mildest.failures && e.leaked < mildest.leaked {
			mildest = e
		}
	}
	if mildest.key != 0 {
		t.forget(&b.overflow, now)
		if b.overflow.failures == 0 {
			b.overflow.leaked = now
		}
		if mildest.failures > 1 || mildest.until > now {
			return &b.overflow
		}
		b.overflow.failures = min(b.overflow.failures+1, int32(t.most))
	}
	*mildest = entry{key: key, leaked: now}
	return mildest
}

// reset forgets key and returns how many failures it had.
func (t *table) reset(key uint64, now time.Duration) int {
	e := t.find(key, now)
	if e == nil {
		return 0
	}
	n := int(e.failures)
	*e = entry{}
	return n
}

// forgive takes back n failures of key.
func (t *table) forgive(key uint64, n int, now time.Duration) {
	e := t.find(key, now)
	if e == nil || n == 0 {
		return
	}
	e.failures -= min(e.failures, int32(n))
	if int(e.failures) <= t.tolerate {
		e.until = 0
	}
	if e.failures == 0 {
		*e = entry{}
	}
}

// slowing is how long attempts on key are slowed: that grows with failures past
// the tolerance, to maxSlowing.
func (t *table) slowing(key uint64, now time.Duration) time.Duration {
	if e := t.find(key, now); e != nil {
		return min(t.penalty(int(e.failures)), maxSlowing)
	}
	return t.untracked(key, now)
}

// untracked is how long attempts on a key that has no entry are slowed because its
// bucket has overflown past the tolerance.
func (t *table) untracked(key uint64, now time.Duration) time.Duration {
	if key == 0 || t.find(key, now) != nil {
		return 0
	}
	b := t.bucket(key)
	t.forget(&b.overflow, now)
	return min(t.penalty(int(b.overflow.failures)), maxSlowing)
}

// proven remembers which users have logged in from which addresses. Nobody gets
// in here without a password, so strangers cannot push anybody out.
type proven struct{ buckets [][ways]uint64 }

func newProven(entries int) proven {
	return proven{make([][ways]uint64, (entries+ways-1)/ways)}
}

func (p *proven) bucket(key uint64) *[ways]uint64 {
	return &p.buckets[(key>>32)*uint64(len(p.buckets))>>32]
}

func (p *proven) has(key uint64) bool {
	if key == 0 {
		return false
	}
	for _, k := range p.bucket(key) {
		if k == key {
			return true
		}
	}
	return false
}

// add puts key first in its bucket; the one that was added least recently goes.
func (p *proven) add(key uint64) {
	if key == 0 {
		return
	}
	b := p.bucket(key)
	at := len(b) - 1
	for i, k := range b {
		if k == key {
			at = i
			break
		}
	}
	copy(b[1:at+1], b[:at])
	b[0] = key
}
