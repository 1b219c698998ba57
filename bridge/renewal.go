package bridge

import (
	"errors"
	"time"

	"github.com/synthetism/edgebroker/wire"
)

var errRenewal = errors.New("it connects again, since its token is about to expire")

// renews reports whether the connection is to be made anew now, which then
// happens at once: nothing has failed.
func (u *Uplink) renews() bool {
	if u.cfg.Renewal == nil {
		return false
	}
	at := u.cfg.Renewal()
	if at.IsZero() || time.Now().Before(at) {
		return false
	}
	u.pacer.reset()
	return true
}

// turnedDown takes note of why the far side does not let this one in.
func (u *Uplink) turnedDown(r wire.Reason) {
	if u.cfg.Refused != nil && (r == wire.BadUserNameOrPassword || r == wire.NotAuthorized) {
		u.cfg.Refused()
	}
}
