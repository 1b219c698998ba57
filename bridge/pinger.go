package bridge

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paholog "github.com/eclipse/paho.golang/paho/log"
)

// pinger sends PINGREQ when nothing was sent, or nothing came, for the keep
// alive, and gives up when then nothing at all comes for as long. On a slow line
// PINGREQ may have to wait until it is written, and PINGRESP for its turn.
type pinger struct {
	base           time.Time    // has the monotonic clock: on a gateway the other one is set while it runs
	sent, received atomic.Int64 // nanoseconds since base
	written        atomic.Int64 // when the last PINGREQ was; 0: it is still being written
}

func newPinger() *pinger { return &pinger{base: time.Now()} }

func (p *pinger) now() int64 { return max(1, int64(time.Since(p.base))) }

var _ paho.Pinger = (*pinger)(nil)

var errSilence = errors.New("nothing comes from the far side, not even an answer to PINGREQ")

// Run implements paho.Pinger.
func (p *pinger) Run(ctx context.Context, nc net.Conn, keepAlive uint16) error {
	every := time.Duration(keepAlive) * time.Second
	if every == 0 {
		return nil
	}
	p.sent.Store(p.now())
	p.received.Store(p.now())
	p.written.Store(p.now())
	failed := make(chan error, 1)
	var asked int64 // when writing PINGREQ began that nothing has followed; 0: none
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-timer.C:
		}
		now := p.now()
		if p.received.Load() >= asked {
			asked = 0
		}
		written := p.written.Load()
		if asked != 0 && written != 0 && time.Duration(now-written) >= every {
			if c, ours := nc.(*conn); ours {
				c.fail(errSilence) // which says why
			}
			return errSilence
		}
		idle := time.Duration(now - min(p.sent.Load(), p.received.Load()))
		if idle >= every && asked == 0 && written != 0 {
			asked, idle = now, 0
			p.written.Store(0)
			go func() {
				_, err := packets.NewControlPacket(packets.PINGREQ).WriteTo(nc)
				now := p.now()
				p.sent.Store(now)
				p.written.Store(now)
				if err != nil {
					failed <- err
				}
			}()
		}
		timer.Reset(max(every/8, every-idle))
	}
}

// PacketSent implements paho.Pinger.
func (p *pinger) PacketSent() { p.sent.Store(p.now()) }

// PacketReceived implements paho.Pinger.
func (p *pinger) PacketReceived() { p.received.Store(p.now()) }

// PingResp implements paho.Pinger.
func (p *pinger) PingResp() { p.PacketReceived() }

// SetDebug implements paho.Pinger.
func (p *pinger) SetDebug(paholog.Logger) {}
