package relay

import "container/list"

// recencyBytes is how many bytes topics and their publishers may take for each
// topic that there may be, on average.
const recencyBytes = 512

// recency remembers the latest publishers of the topics that were published on
// last. It is not safe for concurrent use.
type recency struct {
	limit int // topics
	bytes int // of topics and publishers
	used  int

	order  list.List // of *publishedOn, the latest first
	byName map[string]*list.Element
}

type publishedOn struct {
	topic string
	by    []Publication // the latest first, one of each client and user, at most noted
}

func (r *recency) add(topic string, by Publication) {
	if len(topic) > maxCachedTopic {
		return
	}
	if r.byName == nil {
		r.byName = make(map[string]*list.Element)
	}
	e := r.byName[topic]
	if e == nil {
		e = r.order.PushFront(&publishedOn{topic: topic})
		r.byName[topic] = e
		r.used += e.Value.(*publishedOn).size()
	}
	r.order.MoveToFront(e)
	p := e.Value.(*publishedOn)
	r.used -= p.size()
	at := len(p.by)
	for i := range p.by {
		if p.by[i].Client == by.Client && p.by[i].Username == by.Username {
			at = i
			break
		}
	}
	switch {
	case at == noted:
		at--
	case at == len(p.by):
		p.by = append(p.by, by)
	}
	copy(p.by[1:], p.by[:at])
	p.by[0] = by
	r.used += p.size()
	for r.order.Len() > r.limit || r.used > r.bytes && r.order.Len() > 1 {
		last := r.order.Back()
		gone := r.order.Remove(last).(*publishedOn)
		delete(r.byName, gone.topic)
		r.used -= gone.size()
	}
}

// size is about what p takes in bytes.
func (p *publishedOn) size() int {
	n := 200 + len(p.topic)
	for i := range p.by {
		b := &p.by[i]
		n += 100 + len(b.Client) + len(b.Username) + len(b.Remote)
	}
	return n
}
