package relay

// queue is a first-in first-out ring of deliveries. It grows as needed and
// gives its memory back when it has been emptied. The zero value is empty.
type queue struct {
	ring  []delivery // length is zero or a power of two
	head  int
	n     int
	bytes int64 // sum of size of the messages held
	live0 int64 // of these, deliveries for which live0 holds
	n0    int   // deliveries of QoS 0
}

// Rings start small; one that has been emptied is kept up to a size that
// spares a busy session the growing and costs an idle one little.
const (
	minRing  = 8
	keepRing = 64
)

func (q *queue) len() int { return q.n }

func (q *queue) push(d delivery) {
	if q.n == len(q.ring) {
		q.resize(max(minRing, 2*len(q.ring)))
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = d
	q.add(&d, 1)
}

// add counts d as n deliveries more or less.
func (q *queue) add(d *delivery, n int) {
	d.msg.hold(n)
	size := d.msg.size() * int64(n)
	q.n += n
	q.bytes += size
	if d.qos == 0 {
		q.n0 += n
	}
	if d.live0() {
		q.live0 += size
	}
}

// at returns the delivery that i others are before.
func (q *queue) at(i int) *delivery { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// front returns the oldest delivery; the queue must not be empty.
func (q *queue) front() *delivery { return &q.ring[q.head] }

// pop removes and returns the oldest delivery; the queue must not be empty.
func (q *queue) pop() delivery {
	d := q.ring[q.head]
	q.ring[q.head] = delivery{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.add(&d, -1)
	switch {
	case q.n == 0 && len(q.ring) > keepRing:
		*q = queue{}
	case len(q.ring) > 1024 && q.n < len(q.ring)/8:
		q.resize(len(q.ring) / 2)
	}
	return d
}

// unpop puts d back before the oldest.
func (q *queue) unpop(d delivery) {
	if q.n == len(q.ring) {
		q.resize(max(minRing, 2*len(q.ring)))
	}
	q.head = (q.head - 1) & (len(q.ring) - 1)
	q.ring[q.head] = d
	q.add(&d, 1)
}

// cut0 takes out all QoS 0, in order. It looks from the end on, so that what has
// just come there is found at once.
func (q *queue) cut0() []delivery {
	first := q.n
	for left := q.n0; left > 0; {
		if first--; q.at(first).qos == 0 {
			left--
		}
	}
	cut, to := make([]delivery, 0, q.n0), first
	for i := first; i < q.n; i++ {
		d := q.at(i)
		if d.qos == 0 {
			cut = append(cut, *d)
		} else {
			*q.at(to) = *d
			to++
		}
	}
	for i := to; i < q.n; i++ {
		*q.at(i) = delivery{}
	}
	for i := range cut {
		q.add(&cut[i], -1)
	}
	if q.n == 0 && len(q.ring) > keepRing {
		*q = queue{}
	}
	for len(q.ring) > 1024 && q.n < len(q.ring)/8 {
		q.resize(len(q.ring) / 2)
	}
	return cut
}

func (q *queue) resize(size int) {
	ring := make([]delivery, size)
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}
