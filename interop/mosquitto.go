package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// mosquitto is mosquitto_pub and mosquitto_sub: a client is one mosquitto_sub
// while it is subscribed and one run of mosquitto_pub for each publish.
func mosquitto(ctx context.Context) (*Library, error) {
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub", "stdbuf"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	// It prints its version and exits with 1.
	help, _ := exec.CommandContext(ctx, "mosquitto_sub", "--help").Output()
	_, version, found := strings.Cut(string(help), "mosquitto_sub version ")
	if !found {
		return nil, errors.New("mosquitto_sub --help names no version")
	}
	return &Library{
		Name:         "mosquitto_pub, _sub " + strings.Fields(version)[0],
		Versions:     []string{v31, v311, v5},
		Transports:   []string{tcp, unix},
		HidesPresent: true,
		LeavesWill:   true,
		Open:         func(o Options) Client { return &mosquittoClient{options: o, got: make(chan Message, received)} },
	}, nil
}

type mosquittoClient struct {
	options Options
	got     chan Message
	id      int      // subscription identifier
	filters []Filter // empty before the first Subscribe
	process *exec.Cmd
	ended   chan struct{} // closed when process prints no more
}

func (c *mosquittoClient) Messages() <-chan Message { return c.got }

// connection is the arguments that both programs need.
func (c *mosquittoClient) connection() ([]string, error) {
	args := []string{"-V", map[string]string{v31: "mqttv31", v311: "mqttv311", v5: "mqttv5"}[c.options.Version]}
	if c.options.Transport == unix {
		return append(args, "--unix", c.options.At.Unix), nil
	}
	host, port, err := net.SplitHostPort(c.options.At.TCP)
	return append(args, "-h", host, "-p", port), err
}

// Connect connects when there is a subscription from before; else Subscribe
// does.
func (c *mosquittoClient) Connect(ctx context.Context) (bool, error) {
	if len(c.filters) == 0 {
		return false, nil
	}
	return false, c.start(ctx)
}

func (c *mosquittoClient) Subscribe(ctx context.Context, id int, filters ...Filter) error {
	if len(c.filters) > 0 {
		return fmt.Errorf("mosquitto_sub subscribes once: %w", errCannot)
	}
	c.id, c.filters = id, filters
	return c.start(ctx)
}

func (c *mosquittoClient) start(ctx context.Context) error {
	args, err := c.connection()
	if err != nil {
		return err
	}
	// Its output is a pipe, which it would write to in blocks.
	args = append([]string{"-oL", "mosquitto_sub"}, args...)
	args = append(args, "-d", "-F", "%j", "-i", c.options.ID, "-q", strconv.Itoa(int(c.filters[0].QoS)))
	for _, f := range c.filters {
		args = append(args, "-t", f.Filter)
	}
	if c.options.Kept {
		args = append(args, "-c")
	}
	if c.id != 0 {
		args = append(args, "-D", "subscribe", "subscription-identifier", strconv.Itoa(c.id))
	}
	if w := c.options.Will; w != nil {
		args = append(args, "--will-topic", w.Topic, "--will-payload", w.Payload, "--will-qos", strconv.Itoa(int(w.QoS)))
		if w.Retain {
			args = append(args, "--will-retain")
		}
		args = append(args, propertyArguments("will", w.Properties)...)
	}
	c.process = exec.Command("stdbuf", args...)
	var stderr bytes.Buffer
	c.process.Stderr = &stderr
	stdout, err := c.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.process.Start(); err != nil {
		return err
	}
	c.ended = make(chan struct{})
	granted := make(chan string, 1)
	go c.read(bufio.NewReader(stdout), granted, c.ended)
	select {
	case got := <-granted:
		var want []string
		for _, f := range c.filters {
			want = append(want, strconv.Itoa(int(f.QoS)))
		}
		if got != strings.Join(want, ", ") {
			return fmt.Errorf("granted %q, not %q", got, want)
		}
		return nil
	case <-c.ended:
		_ = c.process.Wait()
		c.process = nil
		return fmt.Errorf("mosquitto_sub ended: %s", strings.TrimSpace(stderr.String()))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read takes apart what mosquitto_sub prints: debug lines and messages.
func (c *mosquittoClient) read(out *bufio.Reader, granted chan<- string, ended chan<- struct{}) {
	defer close(ended)
	for {
		line, err := out.ReadBytes('\n')
		if err != nil {
			return
		}
		text := strings.TrimSpace(string(line))
		if rest, ok := strings.CutPrefix(text, "Subscribed (mid: "); ok {
			_, codes, _ := strings.Cut(rest, "): ")
			granted <- codes
		}
		if m, ok := parseMosquitto(line); ok {
			c.got <- m
		}
	}
}

func (c *mosquittoClient) Publish(ctx context.Context, messages ...Message) error {
	for len(messages) > 0 {
		n := 1
		for n < len(messages) && sameShape(messages[0], messages[n]) {
			n++
		}
		if err := c.publish(ctx, messages[:n]); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

// sameShape reports whether one run of mosquitto_pub that sends a can go on
// with b: it uses an alias by itself after the first message.
func sameShape(a, b Message) bool {
	if a.Properties.Alias != 0 && b.Topic == "" && a.Properties.Alias == b.Properties.Alias {
		b.Topic = a.Topic
	}
	p, q := a.Payload, b.Payload
	a.Payload, b.Payload = "", ""
	return p != "" && q != "" && equal(a, b)
}

func (c *mosquittoClient) publish(ctx context.Context, messages []Message) error {
	m := messages[0]
	args, err := c.connection()
	if err != nil {
		return err
	}
	if m.Topic == "" {
		return errCannot
	}
	args = append(args, "-t", m.Topic, "-q", strconv.Itoa(int(m.QoS)))
	if m.Retain {
		args = append(args, "-r")
	}
	args = append(args, propertyArguments("publish", m.Properties)...)
	var stdin strings.Builder
	switch {
	case m.Payload == "":
		args = append(args, "-n")
	case len(messages) == 1:
		args = append(args, "-s")
		stdin.WriteString(m.Payload)
	default:
		args = append(args, "-l")
		for _, m := range messages {
			stdin.WriteString(m.Payload + "\n")
		}
	}
	pub := exec.CommandContext(ctx, "mosquitto_pub", args...)
	pub.Stdin = strings.NewReader(stdin.String())
	out, err := pub.CombinedOutput()
	switch {
	case err != nil:
		return fmt.Errorf("mosquitto_pub: %w: %s", err, bytes.TrimSpace(out))
	case len(out) > 0: // what it prints is trouble, though it exits with 0
		return fmt.Errorf("mosquitto_pub: %s", bytes.TrimSpace(out))
	}
	return nil
}

func (c *mosquittoClient) Disconnect(ctx context.Context) error { return c.end(ctx, syscall.SIGTERM) }
func (c *mosquittoClient) Kill(ctx context.Context) error       { return c.end(ctx, syscall.SIGKILL) }

// end sends a signal; stdbuf has become mosquitto_sub, so its pid is meant.
func (c *mosquittoClient) end(ctx context.Context, s syscall.Signal) error {
	if c.process == nil {
		return nil
	}
	p := c.process
	c.process = nil
	if err := p.Process.Signal(s); err != nil {
		return err
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		_ = p.Process.Kill()
	}
	_ = p.Wait() // the signal is its error
	return nil
}

// propertyArguments is the -D options for packet, will or publish.
func propertyArguments(packet string, p Properties) []string {
	var out []string
	add := func(name string, values ...string) {
		out = append(append(out, "-D", packet, name), values...)
	}
	for _, u := range p.User {
		add("user-property", u[0], u[1])
	}
	for name, value := range map[string]string{"response-topic": p.ResponseTopic, "correlation-data": p.CorrelationData, "content-type": p.ContentType} {
		if value != "" {
			add(name, value)
		}
	}
	if p.Text {
		add("payload-format-indicator", "1")
	}
	if p.Expiry != 0 {
		add("message-expiry-interval", strconv.Itoa(int(p.Expiry)))
	}
	if p.Alias != 0 {
		add("topic-alias", strconv.Itoa(int(p.Alias)))
	}
	return out
}

// parseMosquitto reads a line of -F %j; ok is false for any other line.
func parseMosquitto(line []byte) (m Message, ok bool) {
	var in struct {
		Topic      *string `json:"topic"`
		Payload    string  `json:"payload"`
		QoS        byte    `json:"qos"`
		Retain     byte    `json:"retain"`
		Properties struct {
			User            orderedPairs `json:"user-properties"`
			ResponseTopic   string       `json:"response-topic"`
			CorrelationData string       `json:"correlation-data"`
			ContentType     string       `json:"content-type"`
			Format          int          `json:"payload-format-indicator"`
			Expiry          uint32       `json:"message-expiry-interval"`
			ID              int          `json:"subscription-identifier"`
		} `json:"properties"`
	}
	if line[0] != '{' || json.Unmarshal(line, &in) != nil || in.Topic == nil {
		return m, false
	}
	p := in.Properties
	m = Message{Topic: *in.Topic, Payload: in.Payload, QoS: in.QoS, Retain: in.Retain == 1, Properties: Properties{
		User: p.User, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, ContentType: p.ContentType,
		Text: p.Format == 1, Expiry: p.Expiry}}
	if p.ID != 0 {
		m.Properties.IDs = []int{p.ID}
	}
	return m, true
}

// orderedPairs is a JSON object of strings whose keys may come more than once.
type orderedPairs [][2]string

func (o *orderedPairs) UnmarshalJSON(b []byte) error {
	in := json.NewDecoder(bytes.NewReader(b))
	if _, err := in.Token(); err != nil { // the brace
		return err
	}
	for in.More() {
		var pair [2]string
		for i := range pair {
			t, err := in.Token()
			if err != nil {
				return err
			}
			pair[i], _ = t.(string)
		}
		*o = append(*o, pair)
	}
	return nil
}
