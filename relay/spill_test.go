package relay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/synthetism/edgebroker/relay"
)

// spilling starts a relay that keeps a few messages of a session in memory and
// puts a few into a chunk. It is to be used in a synctest bubble.
func spilling(t *testing.T, change func(*relay.Config)) (*broker, *store) {
	s := &store{}
	b := openBroker(t, func(c *relay.Config) {
		c.SpillBytes = 2000
		c.MaxInflight = 4
		if change != nil {
			change(c)
		}
	}, s)
	t.Cleanup(b.finish)
	return b, s
}

// drained takes and acknowledges until nothing comes any more, chunks
// included.
func (c *client) drained() (pubs []packet) {
	c.Helper()
	for {
		synctest.Wait()
		more := c.settle()
		if len(more) == 0 {
			return pubs
		}
		pubs = append(pubs, more...)
	}
}

func counted(from, to int) string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return strings.Join(list, " ")
}

// nothingHeld checks that the store may forget everything.
func (s *store) nothingHeld(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) != 0 {
		t.Errorf("bodies and chunks are still held: %v", s.held)
	}
}

func (s *store) chunkRefs() (refs []relay.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := range s.chunks {
		if s.held[ref] > 0 {
			refs = append(refs, ref)
		}
	}
	slices.Sort(refs)
	return refs
}

func TestSpill(t *testing.T) {
	for name, qos := range map[string]byte{"qos 1": 1, "qos 2": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s := spilling(t, nil)
				sub, pub := b.connect("sub", kept), b.connect("pub")
				sub.sub(qos, "t")
				sub.end()
				pub.pub(qos, numbered("t", 0, 100)...)
				if n := len(s.chunkRefs()); n < 10 {
					t.Fatalf("%d chunks; want many", n)
				}
				if in := b.Totals(); in.Queued != 100 || in.QueuedB > 5000 {
					t.Errorf("%d wait, %d bytes in memory; want all, and few", in.Queued, in.QueuedB)
				}
				sub = b.connect("sub", kept)
				got := sub.take()
				pub.pub(qos, numbered("t", 100, 110)...) // behind what is spilled
				pubs := sub.acknowledges(got)
				pubs = append(pubs, sub.drained()...)
				if p := payloads(pubs); p != counted(0, 110) {
					t.Errorf("got %s", p)
				}
				b.empty()
				b.Stored(b.Snapshot())
				s.nothingHeld(t)
			})
		})
	}
}

// What is below Config.SpillBytes never leaves memory, and QoS 0 is not
// spilled.
func TestSpillsOnlyWhatMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.link.grant(0)
		pub.pub(1, numbered("t", 0, 8)...)
		pub.pub(0, numbered("t", 8, 100)...)
		if n := len(s.chunkRefs()); n != 0 {
			t.Errorf("%d chunks; want none", n)
		}
	})
}

func TestSpillLimits(t *testing.T) {
	fill := func(t *testing.T, change func(*relay.Config)) (*broker, *store, []packet) {
		b, s := spilling(t, change)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.pub(1, numbered("t", 0, 100)...)
		return b, s, b.connect("sub", kept).drained()
	}
	t.Run("drop oldest gives up what is in memory, then whole chunks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s, got := fill(t, func(c *relay.Config) { c.Queue.MaxQueued = 40 })
			n := len(got)
			if n > 40 || n < 20 || payloads(got) != counted(100-n, 100) {
				t.Errorf("got %s; want the newest, at most 40", payloads(got))
			}
			b.drops(fmt.Sprintf("queue_full %d", 100-n))
			b.empty()
			b.Stored(b.Snapshot())
			s.nothingHeld(t)
		})
	})
	t.Run("drop newest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s, got := fill(t, func(c *relay.Config) { c.Queue.MaxQueued, c.Queue.WhenFull = 40, relay.DropNewest })
			if payloads(got) != counted(0, 40) {
				t.Errorf("got %s; want the oldest 40", payloads(got))
			}
			b.drops("queue_full 60")
			b.empty()
			b.Stored(b.Snapshot())
			s.nothingHeld(t)
		})
	})
	t.Run("bytes count as if they were in memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, _, got := fill(t, func(c *relay.Config) { c.Queue.MaxQueuedBytes, c.Queue.WhenFull = 8000, relay.DropNewest })
			if n := len(got); n < 25 || n > 31 {
				t.Errorf("got %d messages of 258 or 259 bytes; want 8000 bytes of them", n)
			}
		})
	})
}

// What waits only in the tail must give way as well.
func TestDropOldestReachesTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := spilling(t, func(c *relay.Config) { c.Queue.MaxQueued = 5; c.MaxInflight = 20 })
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		pub.pub(1, numbered("t", 0, 20)...) // fills the window, which has SpillBytes
		sub.end()
		pub.pub(1, numbered("t", 20, 50)...)
		got := b.connect("sub", kept).drained()
		if n := len(got) - 20; n < 1 || payloads(got) != counted(0, 20)+" "+counted(50-n, 50) {
			t.Errorf("got %s; want what was sent, then the newest", payloads(got))
		}
	})
}

func TestDamagedChunks(t *testing.T) {
	spilled := func(t *testing.T) (*broker, *store) {
		b, s := spilling(t, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.pub(1, numbered("t", 0, 60)...)
		return b, s
	}
	t.Run("a chunk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s := spilled(t)
			refs := s.chunkRefs()
			s.broken = map[relay.Ref]bool{refs[1]: true}
			lost := s.chunks[refs[1]]
			got := b.connect("sub", kept).drained()
			first, last := int(lost[0].Seq)-1, int(lost[len(lost)-1].Seq)-1
			if payloads(got) != counted(0, first)+" "+counted(last+1, 60) {
				t.Errorf("got %s", payloads(got))
			}
			b.drops(fmt.Sprintf("store_damaged %d", len(lost)))
			b.empty()
			b.Stored(b.Snapshot())
			s.mu.Lock()
			defer s.mu.Unlock()
			for ref := range s.held {
				if !slices.ContainsFunc(lost, func(e relay.Entry) bool { return e.Body == ref }) {
					t.Errorf("%d is still held", ref)
				}
			}
		})
	})
	t.Run("a body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s := spilled(t)
			lost := s.chunks[s.chunkRefs()[0]][1]
			s.broken = map[relay.Ref]bool{lost.Body: true}
			got := b.connect("sub", kept).drained()
			if len(got) != 59 || slices.ContainsFunc(got, func(p packet) bool { return p.payload == fmt.Sprint(lost.Seq-1) }) {
				t.Errorf("got %s", payloads(got))
			}
			b.drops("store_damaged 1")
			b.empty()
		})
	})
}

func TestSpilledSessionEnds(t *testing.T) {
	t.Run("shared subscriptions give to others what they have", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s := spilling(t, nil)
			first, pub := b.connect("first", kept), b.connect("pub")
			first.sub(1, share, "own")
			first.end()
			for i := range 60 {
				pub.pub(1, numbered("t", i, i+1)...)
				pub.pub(1, "own=x")
			}
			second := b.connect("second", kept)
			second.sub(1, share)
			if !b.Discard("first") {
				t.Fatal("not discarded")
			}
			if got := payloads(second.drained()); got != counted(0, 60) {
				t.Errorf("the other member got %s", got)
			}
			b.drops("discarded 60")
			b.empty()
			b.Stored(b.Snapshot())
			s.nothingHeld(t)
		})
	})
	t.Run("others discard", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s := spilling(t, nil)
			sub, pub := b.connect("sub", kept), b.connect("pub")
			sub.sub(1, "t")
			sub.end()
			pub.pub(1, numbered("t", 0, 100)...)
			b.connect("sub", clean)
			if s.loads != 0 {
				t.Errorf("%d chunks were read to be dropped", s.loads)
			}
			b.drops("discarded 100")
			b.empty()
			s.nothingHeld(t)
		})
	})
}

// A chunk is what the log says of its messages: it is needed until a snapshot
// says something else, also when they are in memory again.
func TestLoadedChunksStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.pub(1, numbered("t", 0, 60)...)
		before := s.chunkRefs()
		sub = b.connect("sub", kept)
		synctest.Wait()
		if s.loads == 0 {
			t.Fatal("nothing was read")
		}
		if got := s.chunkRefs(); !slices.Equal(got, before) {
			t.Errorf("of the chunks %v only %v are held", before, got)
		}
		b.Snapshot()
		if got := s.chunkRefs(); len(got) >= len(before) {
			t.Errorf("after a snapshot the chunks %v are still held", got)
		}
		if got := payloads(sub.drained()); got != counted(0, 60) {
			t.Errorf("got %s", got)
		}
	})
}

// Messages of chunks stay in memory until the chunk is stable, and also when
// it could not be made so, until a snapshot has.
func TestChunksBecomeStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		s.hold = true
		pub.pub(1, numbered("t", 0, 60)...)
		all := b.Totals().QueuedB
		if all < 60*256 {
			t.Errorf("%d bytes are in memory; want all", all)
		}
		s.release(errors.New("disk on fire"))
		if n := b.Totals().QueuedB; n != all {
			t.Errorf("%d bytes are in memory after a failure; want all", n)
		}
		b.Stored(b.Snapshot())
		if n := b.Totals().QueuedB; n > 5000 {
			t.Errorf("%d bytes are in memory after a snapshot; want few", n)
		}
		if got := payloads(b.connect("sub", kept).drained()); got != counted(0, 60) {
			t.Errorf("got %s", got)
		}
	})
}

// What is about to be read and what becomes stable at the same time must not
// lose each other.
func TestLoadWhileChunksBecomeStable(t *testing.T) {
	for range 300 {
		s := &store{}
		b := openBroker(t, func(c *relay.Config) { c.SpillBytes = 400; c.MaxInflight = 1 }, s)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		s.hold = true
		pub.pub(1, numbered("t", 0, 20)...)
		told := make(chan struct{})
		sub = b.open("sub", kept)
		go func() { s.release(nil); close(told) }()
		sub.attach()
		<-told
		b.Close() // waits for the chunks that are being read
		if n := b.Totals().Dropped["store_damaged"]; n != 0 {
			t.Fatalf("%d messages are lost", n)
		}
	}
}

// Taking messages out of memory must not change their order, even if some must
// not be sent yet.
func TestRelieveKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, func(c *relay.Config) { c.SpillBytes = 1 << 20; c.TotalQueuedBytes = 8000 })
		sub, pub, other := b.connect("sub", kept), b.connect("pub"), b.connect("other")
		sub.sub(2, "t")
		sub.end()
		pub.pub(2, numbered("t", 0, 20)...)
		s.hold = true
		other.pub(2, numbered("t", 20, 40)...)
		synctest.Wait()
		s.release(nil)
		pub.pub(2, numbered("t", 40, 60)...)
		synctest.Wait()
		if got := payloads(b.connect("sub", kept).drained()); got != counted(0, 60) {
			t.Errorf("got %s", got)
		}
	})
}

// A session that is to end with its connection is the store's business no
// more, but its messages keep their order.
func TestSpilledSessionIsKeptNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := spilling(t, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.pub(1, numbered("t", 0, 60)...)
		sub = b.connect("sub", expiry(0))
		pub.pub(1, numbered("t", 60, 70)...)
		if got := payloads(sub.drained()); got != counted(0, 70) {
			t.Errorf("got %s", got)
		}
		b.empty()
	})
}

// Chunks that lie where the store wants to give up space are moved, with what
// they need.
func TestMovedChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := spilling(t, nil)
		sub, pub := b.connect("sub", kept), b.connect("pub")
		sub.sub(1, "t")
		sub.end()
		pub.pub(1, numbered("t", 0, 60)...)
		s.sparse = make(map[relay.Ref]bool)
		for ref := range s.held {
			s.sparse[ref] = true
		}
		s.recorded()
		b.Stored(b.Snapshot())
		if n := strings.Count(s.recorded(), "moved "); n != 60 {
			t.Errorf("the store was told of %d bodies that they have moved; want 60", n)
		}
		for ref := range s.held {
			if s.sparse[ref] {
				t.Errorf("%d has not been moved", ref)
			}
		}
		if got := payloads(b.connect("sub", kept).drained()); got != counted(0, 60) {
			t.Errorf("got %s", got)
		}
		b.empty()
		b.Stored(b.Snapshot())
		s.nothingHeld(t)
	})
}
