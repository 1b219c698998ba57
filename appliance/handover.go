package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/events"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/listen"
	"github.com/synthetism/edgebroker/relay"
	"github.com/synthetism/edgebroker/wire"
)

// stillWait bounds how long clients may take to come to a standstill. Those that
// take longer are disconnected.
const stillWait = 2 * time.Second

// quietWait bounds how long those may take who have asked for something over HTTP,
// and then a checkpoint: clients must not be disconnected for that.
const quietWait = 2 * time.Second

// HandOver ends the broker as Stop does, except that clients which can go on in
// another process are not disconnected: what that needs is put into a parcel,
// which send gets. If that fails, or send does, clients have been told that the
// server shuts down, and moved is false. The error is that of stopping.
// Clients that cannot go on are told to come again, over Config.Upgrade.Spread,
// while the others are served. ctx bounds it all.
func (b *Broker) HandOver(ctx context.Context, send func(parcel *os.File) error) (moved bool, err error) {
	b.mu.Lock()
	if b.state != started {
		b.mu.Unlock()
		return false, fmt.Errorf("hand over: %w: the broker does not run", ErrState)
	}
	b.state = stopping
	b.mu.Unlock()
	b.system(events.SystemHandingOver, "")
	h := &departure{b: b}
	b.reloading.Lock() // a change that is under way ends first, and one that comes later sees that it is too late
	h.release(func(c ListenerConfig) bool { return c.Secure() || c.webSocket() })
	b.reloading.Unlock() // who waits for it is waited for below
	failed := h.carry(ctx, send)
	if failed != nil {
		b.log.Error("clients cannot be handed over and are disconnected", "error", failed)
		return false, h.leave(ctx, false)
	}
	return true, h.leave(ctx, true)
}

// Spread is how long HandOver may take on top of what Stop takes.
func (b *Broker) Spread() time.Duration { return b.conf().Upgrade.Spread }

// departure is a broker on its way to another process.
type departure struct {
	b         *Broker
	listeners []net.Listener // of h.state.Listeners
	conns     []*listen.Conn // that have stopped
	state     handover.State
	relayed   bool // the relay has ended
	stored    bool // the store has been closed
}

// carry does everything up to send, but for the sockets of those whose connections
// cannot travel.
func (h *departure) carry(ctx context.Context, send func(*os.File) error) error {
	b := h.b
	b.gate.KickOthers(ctx, b.conf().Upgrade.Spread, wire.ServerShuttingDown, listen.EndServerShutdown) // 0x9C and 0x9D send clients elsewhere for good
	b.stopUplinks()
	b.telling.Store(false)
	h.quieten(ctx)
	h.release(func(ListenerConfig) bool { return true })
	still, cancel := context.WithTimeout(ctx, stillWait)
	defer cancel()
	b.relay.Still()
	h.conns = b.gate.Freeze(still)
	if err := b.gate.Leave(ctx, h.conns, wire.ServerShuttingDown, listen.EndServerShutdown); err != nil {
		return err
	}
	if err := h.settle(); err != nil { // what is acknowledged by now need not wait
		return err
	}
	h.relayed = true
	b.relay.Close()
	for _, c := range h.conns {
		c.Dam()
	}
	b.relay.Seal()
	if err := h.settle(); err != nil {
		return err
	}
	var sockets []int
	carried, err := b.relay.Carry(func() (err error) {
		sockets, err = h.gather()
		return err
	})
	if err != nil {
		return err
	}
	h.state.Relay, h.state.Made = *carried, handover.Now()
	h.stored = true
	if err := b.closeStore(); err != nil {
		return err
	}
	parcel, err := handover.Pack(&h.state, sockets)
	if err != nil {
		return err
	}
	defer parcel.Close()
	b.log.Info("handing over", "clients", len(h.conns), "listeners", len(h.listeners))
	return send(parcel)
}

// quieten ends what clients need not wait for while nobody serves them.
func (h *departure) quieten(ctx context.Context) {
	b := h.b
	quiet, cancel := context.WithTimeout(ctx, quietWait)
	defer cancel()
	if err := errors.Join(b.httpDoor().close(quiet), b.stats.Close(quiet)); err != nil {
		b.log.Warn("end requests", "error", err)
	}
	if b.store != nil {
		short, cancel := context.WithTimeout(ctx, quietWait)
		defer cancel()
		b.store.Checkpoint(short)
	}
}

// release takes the sockets of listeners that are like that, so that clients
// wait for the next process.
func (h *departure) release(like func(ListenerConfig) bool) {
	for _, e := range h.b.places() {
		if e.lost || !like(e.cfg) {
			continue
		}
		address := e.listen.Address()
		nl := e.listen.Release()
		if nl == nil {
			continue
		}
		if u, ok := nl.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		// Those of the service manager as well: it passes them to a process that it
		// starts, but not to a program that takes the place of this one.
		h.listeners = append(h.listeners, nl)
		h.state.Listeners = append(h.state.Listeners, handover.Listener{Name: e.cfg.Name, Type: e.cfg.Type, Network: e.cfg.Network(),
			Address: e.cfg.Address, Bound: address, Mode: uint32(e.cfg.SocketMode())})
	}
}

// settle waits until all that was recorded is stored, and acknowledged.
func (h *departure) settle() error {
	if h.b.store == nil {
		return nil
	}
	done := make(relay.Outcome, 1)
	h.b.store.Commit(relay.Sync, done)
	if err := <-done; err != nil {
		return fmt.Errorf("store what has been acknowledged: %w", err)
	}
	return nil
}

// gather notes connections and listeners, and returns their descriptors.
func (h *departure) gather() (sockets []int, err error) {
	b := h.b
	h.state.Program, h.state.Epoch = b.version, b.memoryEpoch
	for i, nl := range h.listeners {
		fd, err := descriptor(nl)
		if err != nil {
			return nil, fmt.Errorf("listener %q: %w", h.state.Listeners[i].Name, err)
		}
		sockets = append(sockets, fd)
	}
	for _, c := range h.conns {
		client, early := b.sessions.Carry(c)
		k, err := c.Carry(early)
		if err != nil {
			return nil, fmt.Errorf("client %q: %w", c.ID(), err)
		}
		hc := handover.Conn{Carried: *k, Client: client}
		if client != nil && client.Identity.Source == "password" && b.files.users != nil {
			if mark, ok := b.files.users.Mark(client.Identity.Name); ok {
				hc.User = string(mark[:])
			}
		}
		if !k.Gone {
			fd, err := c.Descriptor()
			if err != nil {
				return nil, fmt.Errorf("client %q: %w", c.ID(), err)
			}
			sockets = append(sockets, fd)
		}
		h.state.Conns = append(h.state.Conns, hc)
	}
	return sockets, nil
}

// descriptor is that of a listening socket, valid until that is closed.
func descriptor(nl net.Listener) (fd int, err error) {
	s, ok := nl.(syscall.Conn)
	if !ok {
		return -1, errors.New("socket has no descriptor")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	err = raw.Control(func(p uintptr) { fd = int(p) })
	return fd, err
}

// leave ends the broker. With moved its clients are another process's.
func (h *departure) leave(ctx context.Context, moved bool) error {
	b := h.b
	for _, c := range h.conns {
		if moved {
			c.Move()
		} else {
			c.Kick(wire.ServerShuttingDown, listen.EndServerShutdown)
			c.Thaw()
		}
	}
	for i, nl := range h.listeners {
		if u, ok := nl.(*net.UnixListener); ok {
			_, passed := carriedConfig(h.state.Listeners[i]).passed()
			u.SetUnlinkOnClose(!moved && !passed)
		}
		_ = nl.Close()
	}
	return b.finish(ctx, h.relayed, h.stored)
}
