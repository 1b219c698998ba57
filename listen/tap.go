package listen

import (
	"runtime/debug"
	"slices"

	"github.com/synthetism/edgebroker/wire"
)

// Tap is told of every packet that goes over one connection. What it is given
// is valid during the call only. The connection waits for each call, and holds a
// lock during Sent: a Tap must be quick, must not block, and calls nothing of
// the connection.
type Tap interface {
	// Received takes a packet from the client before anything acts on it. Calls
	// come from one goroutine at a time.
	Received(f wire.Frame)

	// Broken says that what the client has sent ends the connection because of
	// err: input, or, if input is nil, the packet that was received last. It comes
	// from the goroutine of Received.
	Broken(input []byte, err error)

	// Sent takes a packet that has been added to what is to be written to the
	// client, which may be in two parts; behind is how many bytes before it the
	// network has not taken, 0 if they merely have not been offered to it. Calls
	// come from any goroutine, one at a time, in the order of the packets.
	Sent(head, body []byte, behind int)

	// Ended is the last call: why the connection has ended, and how many bytes
	// have been read that are no whole packet, and how many could not be written.
	Ended(word string, err error, unread, unsent int)
}

// Tapper says what a connection is tapped with.
type Tapper interface {
	// Tap returns nil if c does not interest it. It is asked as often as more is
	// known of c: when it has been accepted and its address is known; with its
	// CONNECT, of which client is the client id, which may be empty, even if it is
	// not accepted; when the server has given it another one; and for connections
	// that are there when the Tapper comes. Once it has returned a Tap for c it is
	// not asked again. before is how many bytes wait to be written that the Tap is
	// not told of. It may be called from any goroutine, holding a lock of c's: see
	// [Tap].
	Tap(c *Conn, client string, before int) Tap
}

// taps are what a connection is tapped with. They are never changed.
type taps struct{ list []tapped }

type tapped struct {
	by  Tapper
	tap Tap
}

// Tap lets t tap connections, those that there are and those that come, until
// remove is called. A connection that is at work then may finish the turn of
// reading that it is in with the Tap that it had.
func (g *Gate) Tap(t Tapper) (remove func()) {
	g.changeTappers(func(list []Tapper) []Tapper { return append(slices.Clone(list), t) })
	for _, c := range g.Conns() {
		if c.proxied && c.origin.Load() == nil && c.connect.Load() == nil {
			continue // it is not known yet who it is, and will be offered when it is
		}
		c.offer(t, c.ID())
	}
	return func() {
		g.changeTappers(func(list []Tapper) []Tapper {
			return slices.DeleteFunc(slices.Clone(list), func(o Tapper) bool { return o == t })
		})
		for _, c := range g.Conns() {
			c.untap(t)
		}
	}
}

func (g *Gate) changeTappers(change func([]Tapper) []Tapper) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []Tapper
	if old := g.tappers.Load(); old != nil {
		list = *old
	}
	if list = change(list); len(list) == 0 {
		g.tappers.Store(nil)
		return
	}
	g.tappers.Store(&list)
}

// offerTaps asks those who tap connections whether c is one for them, once its
// client id, if there is one, is to be found by [Conn.ID].
func (c *Conn) offerTaps(client string) {
	if list := c.gate.tappers.Load(); list != nil {
		for _, t := range *list {
			c.offer(t, client)
		}
	}
}

func (c *Conn) offer(t Tapper, client string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.out.taps
	if c.untappable || old != nil && slices.ContainsFunc(old.list, func(o tapped) bool { return o.by == t }) {
		return
	}
	tap := t.Tap(c, client, c.out.pending)
	if tap == nil {
		return
	}
	next := &taps{list: []tapped{{t, tap}}}
	if old != nil {
		next.list = append(slices.Clip(old.list), next.list...)
	}
	c.setTapsLocked(next)
	if list := c.gate.tappers.Load(); list == nil || !slices.Contains(*list, t) {
		c.dropTapLocked(t) // removed meanwhile: who did so may not have seen it
	}
}

func (c *Conn) setTapsLocked(t *taps) {
	c.out.taps = t
	c.taps.Store(t)
}

func (c *Conn) untap(t Tapper) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropTapLocked(t)
}

func (c *Conn) dropTapLocked(t Tapper) {
	if c.out.taps == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(c.out.taps.list), func(o tapped) bool { return o.by == t })
	if len(list) == 0 {
		c.setTapsLocked(nil)
		return
	}
	c.setTapsLocked(&taps{list})
}

// endTaps tells the taps that c is over.
func (c *Conn) endTaps(unread int) {
	c.mu.Lock()
	t, word, err, unsent := c.out.taps, c.endWord, c.endErr, c.out.lost
	c.untappable = true
	c.setTapsLocked(nil)
	c.mu.Unlock()
	if t == nil {
		return
	}
	c.tell(t, func(tap Tap) { tap.Ended(word, err, unread, unsent) })
}

// tell calls each of t. A panic in one costs nobody anything but what it would
// have noted.
func (c *Conn) tell(t *taps, call func(Tap)) {
	for _, o := range t.list {
		func() {
			defer func() {
				if p := recover(); p != nil {
					c.gate.opts.Log.Error("tap panicked", "client", c.ID(), "listener", c.Listener(),
						"remote", c.Remote(), "error", p, "stack", string(debug.Stack()))
				}
			}()
			call(o.tap)
		}()
	}
}

// received tells the taps of c, if it has any.
func (c *Conn) received(f wire.Frame) {
	if t := c.taps.Load(); t != nil {
		c.tellReceived(t, f)
	}
}

func (c *Conn) tellReceived(t *taps, f wire.Frame) {
	c.tell(t, func(tap Tap) { tap.Received(f) })
}

// brokenConnect tells the taps of input that begins like a CONNECT and is none.
func (c *Conn) brokenConnect(input []byte, err error) {
	if c.gate.tappers.Load() != nil {
		h := min(headerSize(input), len(input))
		con, _ := wire.DecodeConnect(wire.Frame{Type: wire.CONNECT, Raw: input, Body: input[h:]}) // what there is of it
		c.offerTaps(con.ClientID)
		c.broken(input, err)
	}
}

// headerSize is how long the fixed header at the start of raw is.
func headerSize(raw []byte) int {
	i := 1
	for i < len(raw) && raw[i]&0x80 != 0 {
		i++
	}
	return i + 1
}

// broken tells the taps of c, if it has any.
func (c *Conn) broken(input []byte, err error) {
	if t := c.taps.Load(); t != nil {
		c.tell(t, func(tap Tap) { tap.Broken(input, err) })
	}
}

// sentLocked tells the taps of whole packets that are about to be added to what
// is to be written.
func (c *Conn) sentLocked(frames []byte) {
	for f := range wire.Frames(frames) {
		c.sharedLocked(f, nil)
	}
}

// sharedLocked is sentLocked for one packet in two parts.
func (c *Conn) sharedLocked(head, body []byte) {
	behind := 0
	if !c.out.blocked.IsZero() {
		behind = c.out.pending
	}
	c.tell(c.out.taps, func(tap Tap) { tap.Sent(head, body, behind) })
}

// AliasTopic is the topic for which the client has set an alias, empty if that
// is not known. Only for [Tap]'s Received, before the packet sets one.
func (c *Conn) AliasTopic(alias uint16) string {
	if k, ok := c.recv.(interface{ AliasTopic(uint16) string }); ok {
		return k.AliasTopic(alias)
	}
	return ""
}
