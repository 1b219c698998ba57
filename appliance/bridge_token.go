package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// tokens are passwords that a program makes, for an uplink. What the program
// writes is in no error and no log.
type tokens struct {
	args     []string
	lifetime time.Duration // 0: unknown

	mu   sync.Mutex // guards what follows
	last []byte
	at   time.Time // when last was made; zero: there is none
}

const (
	tokenPatience = 10 * time.Second
	tokenSize     = 65535 // bytes, the most that a password may have [MQTT-1.5.6]
)

// get makes a token, or returns the last one while less than half its lifetime
// is over.
func (k *tokens) get() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.at.IsZero() && time.Since(k.at) < k.lifetime/2 {
		return slices.Clone(k.last), nil
	}
	begun := time.Now()
	token, err := run(k.args, tokenPatience)
	if err != nil {
		k.last, k.at = nil, time.Time{}
		return nil, fmt.Errorf("password_command %s: %w", k.args[0], err)
	}
	k.last, k.at = token, begun
	return slices.Clone(token), nil
}

// forget makes the next get make a token: the last one was refused.
func (k *tokens) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.at = nil, time.Time{}
}

// renewal is when a connection that was made with the last token is to be made
// anew: a tenth of the lifetime before it ends. Zero is for never.
func (k *tokens) renewal() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lifetime == 0 || k.at.IsZero() {
		return time.Time{}
	}
	return k.at.Add(k.lifetime - k.lifetime/10)
}

// run runs a program, without a shell, and returns what it writes, less the end
// of the line. A program that takes longer is killed with all that it has
// started.
func run(args []string, patience time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out := &capped{most: tokenSize + 2}
	cmd.Stdout = out
	err := cmd.Run()
	var status *exec.ExitError
	switch token := bytes.TrimRight(out.b, "\r\n"); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it has not ended within %v, and was killed", patience)
	case out.over:
		return nil, fmt.Errorf("it writes more than %d bytes", tokenSize)
	case errors.As(err, &status):
		return nil, errors.New(status.String()) // and nothing of what it has written
	case err != nil:
		return nil, err
	case len(token) == 0:
		return nil, errors.New("it has written nothing")
	case len(token) > tokenSize:
		return nil, fmt.Errorf("it writes more than %d bytes", tokenSize)
	default:
		return token, nil
	}
}

// capped keeps so many bytes at most.
type capped struct {
	b    []byte
	most int
	over bool
}

// Write implements io.Writer.
func (c *capped) Write(b []byte) (int, error) {
	if len(c.b)+len(b) > c.most {
		c.over = true
		return 0, errors.New("too much")
	}
	c.b = append(c.b, b...)
	return len(b), nil
}

func (c BridgeConfig) tokenFindings(item string) []finding {
	var out []finding
	if len(c.PasswordCommand) > 0 {
		path := item + ".password_command"
		if !filepath.IsAbs(c.PasswordCommand[0]) {
			out = append(out, finding{path: path, what: quoteShort(c.PasswordCommand[0]) + " is not an absolute path", mend: "write [/PATH/TO/PROGRAM, ARGUMENT, ...]; there is no shell"})
		}
		if c.Password != "" || c.NATS.Token != "" {
			out = append(out, finding{path: path, what: "there is a password besides", mend: "keep one of them"})
		}
	}
	if c.TokenLifetime != 0 {
		if len(c.PasswordCommand) == 0 {
			out = append(out, finding{path: item + ".token_lifetime", what: "there is no", other: item + ".password_command", mend: "set that too"})
		}
		out = append(out, within[time.Duration]{item + ".token_lifetime", c.TokenLifetime, time.Minute, 365 * 24 * time.Hour, false}.findings()...)
	}
	return out
}
