package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/synthetism/edgebroker/appliance"
	"github.com/synthetism/edgebroker/handover"
	"github.com/synthetism/edgebroker/systemd"
)

// envTrial has serve do all up to the start, say which states it can take over,
// and end: whoever is about to be replaced asks first.
const envTrial = "EDGEBROKER_TRIAL"

// trialWait bounds how long a new program may take to answer.
const trialWait = 20 * time.Second

// trialAnswer is what a program answers that can take over.
func trialAnswer() string { return "handover " + strconv.Itoa(handover.Format) }

// arrival is what the process before this one has handed over.
type arrival struct {
	parcel *handover.Parcel // nil: nothing, or nothing of use
	kept   bool             // the service manager may have it, too
}

// takeOver looks for what was handed over. If this program has failed with it
// before, it runs the one that has made it instead, and does not return.
func takeOver(log *slog.Logger) *arrival {
	a := &arrival{}
	fd := handover.Inherited()
	if fd >= 0 {
		a.kept = systemd.Keeps() // if this one runs since its successor has failed
	} else if fd = systemd.Kept(handover.Name); fd >= 0 {
		a.kept = true
	} else {
		return a
	}
	p, err := handover.Open(os.NewFile(uintptr(fd), handover.Name))
	verdict, err2 := handover.Drop, error(nil)
	if err == nil || p.Earlier(handover.Self()) {
		verdict, err2 = p.Judge(handover.Self())
	}
	if err == nil {
		err = err2
	}
	if verdict == handover.RunEarlier {
		log.Error("this version has failed to start; going on with the one before", "tried", len(p.TriedBy()))
		err = errors.Join(err, p.RunProgram(os.Args, os.Environ()))
	}
	if verdict != handover.Go || err != nil {
		log.Warn("clients of the process before cannot go on and have to connect anew", "error", err)
		p.Close()
		a.forget(log)
		return a
	}
	a.parcel = p
	return a
}

// options are those of the broker that goes on.
func (a *arrival) options() []appliance.Option {
	if a.parcel == nil {
		return nil
	}
	return []appliance.Option{appliance.WithHandover(a.parcel)}
}

// failed is told that this program cannot start, because of err. If there is an
// earlier one that can be run instead, it is, and failed does not return; else
// it returns the error with which to end.
func (a *arrival) failed(log *slog.Logger, err error) error {
	p := a.parcel
	if p == nil || !p.Earlier(handover.Self()) {
		return err
	}
	log.Error("this version cannot start; going on with the one before", "error", err)
	return errors.Join(err, p.RunProgram(os.Args, os.Environ()))
}

// done is told that the broker is up.
func (a *arrival) done(log *slog.Logger) {
	if a.parcel != nil {
		a.parcel.Close()
		a.parcel = nil
	}
	a.forget(log)
}

// forget has the service manager give up what it keeps: as long as it has
// descriptors of connections these do not end when they are closed.
func (a *arrival) forget(log *slog.Logger) {
	if a.kept {
		a.kept = false
		tell(log, systemd.Forget(handover.Name))
	}
}

// hear sends signals of one kind, of which one waits.
func hear(s os.Signal) (heard <-chan os.Signal, deaf func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, s)
	return c, func() { signal.Stop(c) }
}

// try runs program as it would be run in place of this one, up to the point at
// which nothing has been touched yet.
func try(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, trialWait)
	defer cancel()
	c := exec.CommandContext(ctx, program, os.Args[1:]...)
	c.WaitDelay = time.Second // for what it may have started itself
	c.Env = append(os.Environ(), envTrial+"=1", "NOTIFY_SOCKET=", "LISTEN_FDS=")
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	text := strings.TrimSpace(string(out))
	switch {
	case err != nil:
		return fmt.Errorf("%s does not start: %w: %s", program, err, strings.TrimSpace(said.String()))
	case text != trialAnswer():
		return fmt.Errorf("%s cannot take over: it says %q instead of %q", program, text, trialAnswer())
	}
	return nil
}

// trial answers who is about to be replaced by this program.
func (e *env) trial(cfg appliance.Config) error {
	if _, err := appliance.New(cfg); err != nil {
		return serveFailure(err)
	}
	if _, err := cfg.CheckFiles(); err != nil {
		return serveFailure(err)
	}
	_, err := fmt.Fprintln(e.stdout, trialAnswer())
	return err
}

// errTold is why nothing goes on after a handover.
var errTold = errors.New("the broker has been told to stop")

// upgrade puts the program at the path of this one in its place. It returns if
// that cannot be done, with a nil error if nothing has changed, or when ctx has
// ended, by which the broker is told to stop: over says that it has.
func upgrade(ctx context.Context, log *slog.Logger, b *appliance.Broker, wait time.Duration, stops <-chan os.Signal) (over bool, err error) {
	program, err := os.Executable()
	if err == nil {
		err = try(ctx, program)
	}
	if ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		log.Error("not upgraded, everything goes on", "error", err)
		return false, nil
	}
	log.Info("going on with the program that is there now", "program", program)
	tell(log, systemd.ExtendTimeout(extendBy)) // there is no pulse until the next program is ready
	within, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var parcel *os.File
	moved, err := b.HandOver(within, func(f *os.File) (err error) {
		if ctx.Err() != nil {
			return leave(log, f, stops)
		}
		parcel, err = handover.Keep(f)
		return err
	})
	if err != nil {
		log.Error("stop broker", "error", err)
	}
	if ctx.Err() != nil { // the next program would not hear of it
		if parcel != nil && moved {
			if err := leave(log, parcel, stops); err != nil {
				log.Warn("clients have to connect anew", "error", err)
			}
		}
		return true, err
	}
	if !moved {
		parcel = nil
	}
	signal.Ignore(syscall.SIGUSR2) // until it is heard again
	err = handover.Run(program, os.Args, os.Environ(), parcel)
	log.Error("the new program cannot be run, going on with this one", "error", err)
	return true, errors.Join(err, handover.Run("/proc/self/exe", os.Args, os.Environ(), parcel))
}

// quit ends the broker when it has been told to: clients are handed over if
// somebody follows.
func quit(log *slog.Logger, b *appliance.Broker, wait time.Duration, stops <-chan os.Signal) error {
	if !follows(stops) {
		return stopWithin(stopWait, b.Stop)
	}
	log.Info("clients are handed over to the process that follows; a stop would have been said by SIGUSR1")
	return stopWithin(wait, func(ctx context.Context) error {
		_, err := b.HandOver(ctx, func(parcel *os.File) error { return keep(log, parcel) })
		return err
	})
}

// follows reports whether the service manager keeps clients for a process that it
// starts after this one, unless that is known to be none.
func follows(stops <-chan os.Signal) bool {
	select {
	case <-stops:
		return false
	default:
		return systemd.Keeps()
	}
}

// leave leaves a parcel to the process that follows, if one does.
func leave(log *slog.Logger, parcel *os.File, stops <-chan os.Signal) error {
	if !follows(stops) {
		return errTold
	}
	return keep(log, parcel)
}

func keep(log *slog.Logger, parcel *os.File) error {
	err := systemd.Keep(handover.Name, parcel)
	if err != nil { // it may have it all the same, and clients are about to be disconnected
		tell(log, systemd.Forget(handover.Name))
	}
	return err
}
