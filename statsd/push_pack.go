package statsd

// MaxDatagram is the most bytes of a StatsD datagram: what fits into a frame of
// 1500 bytes with whatever headers there may be.
const MaxDatagram = 1432

// pack calls send with datagrams of at most limit bytes that hold the texts of
// units, in order, each whole and on lines of its own; from is the first unit in
// it and to the first after. A unit that is longer by itself is left out.
func pack(units []unit, limit int, send func(datagram []byte, from, to int)) (left int) {
	buf, from := make([]byte, 0, limit), 0
	flush := func(to int) {
		if len(buf) > 0 {
			send(buf, from, to)
		}
		buf, from = buf[:0], to
	}
	for i := range units {
		text := units[i].text
		if len(text) > limit {
			flush(i)
			from = i + 1
			left++
			continue
		}
		if len(buf) > 0 && len(buf)+1+len(text) > limit {
			flush(i)
		}
		if len(buf) > 0 {
			buf = append(buf, '\n')
		}
		buf = append(buf, text...)
	}
	flush(len(units))
	return left
}
