package e2e_test

import (
	"bufio"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/synthetism/edgebroker/appliance"
)

// mosquittoClient is mosquitto_sub while it is subscribed, and one run of
// mosquitto_pub for each publish.
type mosquittoClient struct {
	broker  *broker
	version string
	options
	sub *exec.Cmd // nil unless it runs
	got chan message
	out sync.WaitGroup // the reader of sub's output
}

func mosquitto(version string) func(testing.TB, *broker, options) client {
	return func(t testing.TB, b *broker, o options) client {
		c := &mosquittoClient{broker: b, version: version, options: o, got: make(chan message, 2000)}
		t.Cleanup(func() { c.end(t, syscall.SIGKILL) })
		return c
	}
}

func (c *mosquittoClient) messages() <-chan message { return c.got }

// connection is the arguments that both programs need.
func (c *mosquittoClient) connection(t testing.TB) []string {
	t.Helper()
	args := []string{"-V", c.version}
	if path, ok := strings.CutPrefix(c.at, "unix:"); ok {
		return append(args, "--unix", path)
	}
	host, port, ok := strings.Cut(c.at, ":")
	if !ok {
		t.Fatalf("address %q has no port", c.at)
	}
	return append(args, "-h", host, "-p", port)
}

func (c *mosquittoClient) subscribe(t testing.TB, qos byte, filters ...string) {
	t.Helper()
	if c.sub != nil {
		t.Fatal("mosquitto_sub subscribes once")
	}
	args := append(c.connection(t), "-i", c.id, "-q", string('0'+qos), "-F", "%q %r %t %p", "-k", "600")
	if c.kept {
		args = append(args, "-c")
	}
	if w := c.will; w != nil {
		args = append(args, "--will-topic", w.topic, "--will-payload", w.payload, "--will-qos", string('0'+w.qos))
		if w.retain {
			args = append(args, "--will-retain")
		}
	}
	ready := "$ready/" + c.id
	for _, f := range append(filters, ready) {
		args = append(args, "-t", f)
	}
	c.sub = exec.Command(program(t, "mosquitto_sub"), args...)
	stdout, err := c.sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.sub.Start(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{}, 1)
	c.out.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			f := strings.SplitN(lines.Text(), " ", 4)
			if f[2] == ready {
				answered <- struct{}{}
				continue
			}
			c.got <- message{topic: f[2], payload: f[3], qos: f[0][0] - '0', retain: f[1] == "1"}
		}
	})
	awaitSubscribed(t, c.broker, c.id, append(filters, ready)...)
	// A signal that comes while it is busy with the SUBACK can hang it: its
	// handler takes locks. After this it waits for input.
	if err := c.broker.Publish(t.Context(), appliance.Message{Topic: ready}); err != nil {
		t.Fatal(err)
	}
	receive(t, "mosquitto_sub to be ready", answered)
}

func (c *mosquittoClient) publish(t testing.TB, topic string, qos byte, retain bool, lines ...string) {
	t.Helper()
	args := append(c.connection(t), "-t", topic, "-q", string('0'+qos))
	if retain {
		args = append(args, "-r")
	}
	var stdin string
	switch {
	case len(lines) == 1 && lines[0] == "":
		args = append(args, "-n")
	case len(lines) == 1:
		args = append(args, "-m", lines[0])
	default:
		args = append(args, "-l")
		stdin = strings.Join(lines, "\n") + "\n"
	}
	ctx, cancel := limit()
	defer cancel()
	pub := exec.CommandContext(ctx, program(t, "mosquitto_pub"), args...)
	pub.Stdin = strings.NewReader(stdin)
	if out, err := pub.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("mosquitto_pub %q: %v\n%s", args, err, out)
	}
}

func (c *mosquittoClient) leave(t testing.TB) { c.end(t, syscall.SIGTERM) }
func (c *mosquittoClient) kill(t testing.TB)  { c.end(t, syscall.SIGKILL) }

func (c *mosquittoClient) end(t testing.TB, s syscall.Signal) {
	t.Helper()
	if c.sub == nil {
		return
	}
	if err := c.sub.Process.Signal(s); err != nil {
		t.Errorf("end mosquitto_sub: %v", err)
	}
	hung := time.AfterFunc(patience, func() {
		t.Errorf("mosquitto_sub does not end after %v", s)
		_ = c.sub.Process.Kill()
	})
	c.out.Wait()
	hung.Stop()
	_ = c.sub.Wait() // the signal is its error
	c.sub = nil
	awaitGone(t, c.broker, c.id)
}
