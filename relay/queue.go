package relay

// queue is a first-in first-out ring of deliveries. It grows as needed and
// gives its memory back when it has been emptied. The zero value is empty.
type queue struct {
	ring  []delivery // length is zero or a power of two
	head  int
	n     int
	bytes int64 // sum of size of the messages held
	live0 int64 // of these, deliveries for which live0 holds
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
	q.n++
	q.bytes += d.msg.size()
	if d.live0() {
		q.live0 += d.msg.size()
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
	q.n--
	q.bytes -= d.msg.size()
	if d.live0() {
		q.live0 -= d.msg.size()
	}
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
	q.n++
	q.bytes += d.msg.size()
	if d.live0() {
		q.live0 += d.msg.size()
	}
}

func (q *queue) resize(size int) {
	ring := make([]delivery, size)
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

// countQoS0 returns how many of the deliveries have QoS 0.
func (q *queue) countQoS0() int32 {
	var n int32
	for i := range q.n {
		if q.ring[(q.head+i)&(len(q.ring)-1)].qos == 0 {
			n++
		}
	}
	return n
}
