package relay

// Figure is a number of messages or copies of them, and what they are.
type Figure struct {
	Name  string
	Count int64
}

// Account is an equation: what has come in is what has become of it.
type Account struct {
	Name string
	In   []Figure // since the relay was made
	Out  []Figure // what is left out is 0
}

// Difference is by how much more has come in than is accounted for. It is 0,
// or the relay has lost messages, or counted wrong.
func (a Account) Difference() int64 {
	var d int64
	for _, f := range a.In {
		d += f.Count
	}
	for _, f := range a.Out {
		d -= f.Count
	}
	return d
}

// Names of accounts and figures.
const (
	accountClients = "received at QoS " // and the digit
	accountHouse   = "published by the broker"
	accountOnce    = "copies at QoS 0"
	accountAcked   = "copies at QoS 1 and 2"
)

// Balance is the books of the relay at one instant, between messages: nobody is
// in the middle of handing one over. For that it stops all publishers at the
// ends of their batches, and goes through all sessions, which takes about 0.1 µs
// for each. Copies count what sessions were to get; what is sent again counts
// once. Nothing of an earlier process is in it but the copies that its store has
// brought.
func (r *Relay) Balance() []Account {
	var b balance
	r.moving.Lock() // what leaves one session and has not reached another would be in neither
	defer r.moving.Unlock()
	r.house.turns.Lock()
	defer r.house.turns.Unlock()
	stopped := make(map[*Port]bool)
	defer func() {
		for p := range stopped {
			p.turn.mu.Unlock()
		}
	}()
	for i := 0; !r.stopPorts(stopped, i >= patientTries); i++ {
	}
	defer r.mu.Unlock()
	b.take(r)
	return b.accounts()
}

// patientTries is after how many connections that have come meanwhile and are
// busy already those who connect have to wait for the ends of turns, too.
const patientTries = 100

// stopPorts waits for the end of a turn, and reports whether no connection is in
// one any more. In that case mu is locked. It is not while turns are waited for,
// unless that is forced: whoever is in one might wait for it.
func (r *Relay) stopPorts(stopped map[*Port]bool, force bool) bool {
	r.mu.Lock()
	for p := range r.ports {
		switch {
		case stopped[p]:
		case p.turn.mu.TryLock():
			stopped[p] = true
		case force:
			p.turn.mu.Lock()
			stopped[p] = true
		default:
			r.mu.Unlock()
			p.turn.mu.Lock()
			stopped[p] = true
			return false
		}
	}
	return true
}

// balance is what is added up for a Balance.
type balance struct {
	clients, house tally
	accepted, own  Traffic
	books          books
	queued         [classes]int64
	inflight       int64
}

// take adds everything up. The caller holds all turns, moving and mu of r.
func (b *balance) take(r *Relay) {
	b.clients.add(&r.retired.tally)
	for p := range r.ports {
		b.clients.add(&p.tally)
	}
	b.house.add(&r.house.tally)
	b.own.accumulate(&r.own)
	b.accepted = r.retired.received
	b.books.add(&r.retired.books)
	for _, s := range r.sessions {
		b.session(s)
	}
	for s := range r.ending {
		b.session(s)
	}
}

func (b *balance) session(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.accepted.accumulate(&s.received)
	b.books.add(&s.books)
	n, _ := s.waitingLocked()
	b.queued[once] += int64(s.queue.n0)
	b.queued[acked] += int64(n - s.queue.n0)
	b.inflight += int64(s.window.open)
}

func (b *balance) accounts() []Account {
	var all tally
	all.add(&b.clients)
	all.add(&b.house)
	c, h, s, o := b.clients.seldom(), b.house.seldom(), b.books.seldom(), all.seldom()
	var list []Account
	for q := range 3 {
		a := Account{Name: accountClients + string(rune('0'+q))}
		a.in("publishes", b.clients.arrived[q])
		a.out("accepted", b.accepted.QoS[q]-c.unheard[q])
		a.out("accepted, nobody had subscribed", c.unheard[q])
		a.out("refused", c.refused[q])
		a.out("received before", c.repeated[q])
		a.out("too many at once, disconnected", c.cut[q])
		a.out("held back", c.held[q])
		a.out("held back until the connection ended", c.unanswered[q])
		list = append(list, a)
	}
	a := Account{Name: accountHouse}
	for q := range 3 {
		a.in([]string{"at QoS 0", "at QoS 1", "at QoS 2"}[q], b.house.arrived[q])
	}
	a.out("accepted", b.own.Messages()-sumOf(h.unheard))
	a.out("accepted, nobody had subscribed", sumOf(h.unheard))
	a.out("refused", sumOf(h.refused))
	list = append(list, a)
	for k, name := range [classes]string{accountOnce, accountAcked} {
		a := Account{Name: name}
		a.in("of messages as they came", all.made[k])
		a.in("of retained messages", b.books.made[k])
		a.in("passed on by other members of a group", s.gained[k])
		if class(k) == acked {
			a.in("recovered from the store", s.recovered[k])
			a.out("acknowledged", b.books.delivered)
			a.out("in flight", uint64(b.inflight))
		} else {
			a.in("queued by an earlier process", s.recovered[k])
			a.out("sent", all.sent+b.books.sent)
		}
		a.out("queued", uint64(b.queued[k]))
		a.out("passed on to another member of the group", s.passed[k])
		a.out("the session had just ended", o.late[k])
		for why := range dropReasons {
			a.out("dropped: "+why.String(), s.lost[why][k]+o.lost[why][k])
		}
		list = append(list, a)
	}
	return list
}

func sumOf(n [3]uint64) uint64 { return n[0] + n[1] + n[2] }

// in adds a figure. Those that are often 0 in all brokers are left out then.
func (a *Account) in(name string, n uint64) {
	if n != 0 || len(a.In) == 0 {
		a.In = append(a.In, Figure{name, int64(n)})
	}
}

func (a *Account) out(name string, n uint64) {
	if n != 0 || len(a.Out) == 0 {
		a.Out = append(a.Out, Figure{name, int64(n)})
	}
}
