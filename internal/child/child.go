// Package child runs a broker as a process of its own and looks at it from outside,
// for the programs of this repository that put brokers to the test. Who starts one
// ends it; if the program dies before, the kernel kills it.
package child

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a broker that was started. Its methods may be called from any
// goroutine.
type Process struct {
	Log   *Log
	Began time.Time // when it was started

	cmd    *exec.Cmd
	exited chan struct{}
}

// Start runs cmd, whose output goes to its Log. ended, unless nil, is called when
// it is gone, before Exited tells. Who starts a process ends it with Kill.
func Start(cmd *exec.Cmd, ended func()) (*Process, error) {
	p := &Process{Log: newLog(), Began: time.Now(), cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Log, p.Log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive the test
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		if ended != nil {
			ended()
		}
		close(p.exited)
	}()
	return p, nil
}

// PID is its process identifier.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when it is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Gone reports whether it is.
func (p *Process) Gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// State says how it ended, once it has.
func (p *Process) State() *os.ProcessState { return p.cmd.ProcessState }

// Signal sends it one.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill sends it SIGKILL, unless it is gone, and returns when it is.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only if it is gone
	<-p.exited
}

// Stop asks it by SIGTERM to end, and returns when it has.
func (p *Process) Stop() {
	_ = p.Signal(syscall.SIGTERM) // fails only if it is gone
	<-p.exited
}

// Listening waits until its log, as JSON, names the address of a listener, and
// returns the first.
func (p *Process) Listening(ctx context.Context, limit time.Duration) (address string, err error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.Log.listening:
		return p.Log.Address(""), nil
	case <-p.exited:
		return "", fmt.Errorf("the broker has ended (%v) before it listened:\n%s", p.State(), p.Log)
	case <-late.C:
		return "", fmt.Errorf("the broker does not listen after %v:\n%s", limit, p.Log)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
