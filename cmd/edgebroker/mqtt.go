package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/internal/dial"
	"github.com/synthetism/edgebroker/wire"
)

const (
	defaultBroker = "127.0.0.1:1883"
	// answerWait bounds how long the broker may take to answer one request.
	answerWait = 10 * time.Second
	// partingWait bounds the wait for the reason of a connection known to be lost.
	partingWait = 2 * time.Second
	// receiveMaximum bounds the QoS 1 and 2 messages on their way to us.
	receiveMaximum = 1024
	maxKeepAlive   = 65535 * time.Second
)

// mqttFlags are the flags of every command that speaks MQTT.
func mqttFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "address", Aliases: []string{"a"}, DefaultText: defaultBroker, Usage: "the broker, as `HOST:PORT`, mqtts://HOST:PORT, ws:// or wss://HOST:PORT/mqtt, or unix:/path"},
		&cli.StringFlag{Name: "host", Usage: "the broker's `HOST`, in place of --address"},
		&cli.IntFlag{Name: "port", DefaultText: "1883", Usage: "the broker's `PORT`, in place of --address"},
		&cli.StringFlag{Name: "id", Aliases: []string{"i"}, Usage: "client `ID` (default: a random one)"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "log in as `NAME`; the password is read from --password-file or EDGEBROKER_PASSWORD"},
		&cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE`", TakesFile: true},
		&cli.StringFlag{Name: "cafile", Usage: "over TLS, trust the authorities in `FILE` (PEM) instead of the system's", TakesFile: true},
		&cli.StringFlag{Name: "cert", Usage: "over TLS, show the certificate in `FILE` (PEM)", TakesFile: true},
		&cli.StringFlag{Name: "key", Usage: "the private key of --cert, in `FILE` (PEM)", TakesFile: true},
		&cli.BoolFlag{Name: "insecure", Usage: "over TLS, take any certificate of the broker, even a forged one"},
		&cli.DurationFlag{Name: "keep-alive", Value: time.Minute, Usage: "longest silence before a ping (`DURATION`, whole seconds; 0: no pings)"},
		&cli.StringFlag{Name: "will-topic", Usage: "`TOPIC` the broker publishes to if this client is lost"},
		&cli.StringFlag{Name: "will-message", Usage: "what it publishes then (`TEXT`)"},
		&cli.IntFlag{Name: "will-qos", Usage: "with quality of service `N`"},
		&cli.BoolFlag{Name: "will-retain", Usage: "and retained"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say on stderr what happens"},
	}
}

// mqttConn is one MQTT 5 connection, used by one command and then closed.
type mqttConn struct {
	address string
	below   net.Conn // as it was dialled
	conn    net.Conn // the same, for whole packets
	client  *paho.Client
	pings   *pinger
	up      context.Context         // ends with the connection; its cause says why
	lost    context.CancelCauseFunc // ends up; the first cause stays
}

// connectPacket is the CONNECT that the flags describe.
func connectPacket(e *env, c *cli.Context) (*paho.Connect, error) {
	path := commandPath(c)
	keepAlive := c.Duration("keep-alive")
	if keepAlive < 0 || keepAlive > maxKeepAlive || keepAlive%time.Second != 0 {
		return nil, usageError(path, "--keep-alive %v is not a whole number of seconds up to %v", keepAlive, maxKeepAlive)
	}
	id := c.String("id")
	if id == "" {
		id = program + "-" + c.Command.Name + "-" + strings.ToLower(rand.Text()[:8])
	}
	limit := uint16(receiveMaximum)
	cp := &paho.Connect{
		ClientID: id, CleanStart: true, KeepAlive: uint16(keepAlive / time.Second),
		Properties: &paho.ConnectProperties{RequestProblemInfo: true, ReceiveMaximum: &limit},
	}
	if topic := c.String("will-topic"); topic != "" {
		qos, err := qosFlag(c, "will-qos")
		if err != nil {
			return nil, err
		}
		cp.WillMessage = &paho.WillMessage{
			Topic: topic, Payload: []byte(c.String("will-message")), QoS: qos, Retain: c.Bool("will-retain"),
		}
	} else if c.IsSet("will-message") || c.IsSet("will-qos") || c.IsSet("will-retain") {
		return nil, usageError(path, "a will needs --will-topic")
	}
	password, err := readPassword(c)
	if err != nil {
		return nil, err
	}
	cp.Username, cp.UsernameFlag = c.String("user"), c.IsSet("user")
	cp.Password, cp.PasswordFlag = password, password != nil
	return cp, nil
}

// readPassword takes the password from the file or the environment, never from
// the command line, where other users see it. Nil means none.
func readPassword(c *cli.Context) ([]byte, error) {
	if name := c.String("password-file"); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &failure{code: exitUsage, err: fmt.Errorf("read password: %w", err), hint: "--password-file names a file whose first line is the password"}
		}
		defer f.Close()
		password, err := firstLine(f)
		if err != nil {
			return nil, fmt.Errorf("read password: %w", err)
		}
		return password, nil
	}
	if password := os.Getenv("EDGEBROKER_PASSWORD"); password != "" {
		return []byte(password), nil
	}
	return nil, nil
}

// firstLine is a password in the first line of r, without its end.
func firstLine(r io.Reader) ([]byte, error) {
	const longest = 65535 // bytes MQTT can carry
	text, err := io.ReadAll(io.LimitReader(r, longest+2))
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// qosFlag is the value of the flag name, which must be 0, 1 or 2.
func qosFlag(c *cli.Context, name string) (byte, error) {
	if n := c.Int(name); n >= 0 && n <= 2 {
		return byte(n), nil
	}
	return 0, usageError(commandPath(c), "--%s %d is not 0, 1 or 2", name, c.Int(name))
}

// dialMQTT connects to a broker and logs in with cp; wait bounds this and every
// later answer. configure, unless nil, may add to the client's configuration.
func dialMQTT(ctx context.Context, to endpoint, cp *paho.Connect, wait time.Duration, configure func(*paho.ClientConfig)) (*mqttConn, *paho.Connack, error) {
	address := to.address
	conn, err := dial.Secure(ctx, address, wait, to.tls)
	if err != nil {
		return nil, nil, unreachableBroker(address, err)
	}
	m := &mqttConn{address: address, below: conn, conn: wholePackets(conn)}
	conn = m.conn
	m.pings = newPinger(conn)
	m.up, m.lost = context.WithCancelCause(context.Background())
	config := paho.ClientConfig{
		Conn: conn, PingHandler: m.pings, PacketTimeout: wait,
		OnPublishReceived:  []func(paho.PublishReceived) (bool, error){func(paho.PublishReceived) (bool, error) { return true, nil }},
		OnServerDisconnect: func(d *paho.Disconnect) { m.lost(disconnectError(address, d)) },
		OnClientError:      func(err error) { m.lost(m.broken(err)) },
	}
	if configure != nil {
		configure(&config)
	}
	m.client = paho.NewClient(config)
	ack, err := m.client.Connect(ctx, cp)
	switch {
	case err == nil:
		return m, ack, nil
	case ack != nil && ack.ReasonCode >= 0x80:
		text := ""
		if ack.Properties != nil {
			text = ack.Properties.ReasonString
		}
		return nil, nil, &failure{code: exitError, err: fmt.Errorf("connect to broker %s: refused: %s", address, reason(ack.ReasonCode, text)), hint: refusedHint(ack.ReasonCode)}
	case ctx.Err() != nil:
		return nil, nil, errInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return nil, nil, unreachableBroker(address, fmt.Errorf("no answer to CONNECT within %v", wait))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil, nil, unreachableBroker(address, errSilent)
	case errors.As(err, new(*net.OpError)): // over TLS 1.3 an alert comes after the handshake
		return nil, nil, &failure{code: exitError, err: fmt.Errorf("connect to broker %s: %w", address, err),
			hint: "`edgebroker events --since 10m --type refusal` on the broker's machine says why; a client certificate is shown with --cert and --key"}
	}
	return nil, nil, &failure{code: exitError, err: fmt.Errorf("connect to broker %s: the answer is no MQTT: %w", address, err),
		hint: "something else may listen there; the usual ports are 1883, and 8883 for mqtts://"}
}

// errSilent is a broker's that hangs up at CONNECT.
var errSilent = errors.New("connection closed without an answer to CONNECT")

// wholePackets lets several goroutines write packets to conn. paho writes each
// in pieces, which only a plain socket takes as one.
func wholePackets(conn net.Conn) net.Conn {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return conn
	}
	return packets.NewThreadSafeConn(conn)
}

// errInterrupted ends a command that the user stopped before it was done.
var errInterrupted = errors.New("interrupted")

func unreachableBroker(address string, err error) error {
	shaking := strings.HasPrefix(err.Error(), "TLS handshake: ")
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // without the address, which we name ourselves
	}
	refused := errors.Is(err, syscall.ECONNREFUSED)
	hint := "start one with `edgebroker serve`, or name another with --address HOST:PORT"
	unknown := (*net.DNSError)(nil)
	switch {
	case errors.As(err, &unknown):
		hint = fmt.Sprintf("this machine finds no address for %s: name the broker by its address, or give the name one in DNS or /etc/hosts", unknown.Name)
	case untrusted(err):
		hint = certificateHint(err, time.Now())
	case errors.Is(err, errSilent):
		hint = "a port that speaks TLS needs mqtts:// in --address; else `edgebroker events --type refusal` on the broker's machine says why"
	case refused:
	case strings.HasPrefix(address, "ws://"), strings.HasPrefix(address, "wss://"):
		hint = "ws:// and wss:// need a listener of type ws or wss, with the path /mqtt; other ports take HOST:PORT or mqtts://HOST:PORT"
	case shaking:
		hint = "a port that does not speak TLS needs --address without mqtts://; else `edgebroker events --type refusal` on the broker's machine says why"
	}
	return &failure{code: exitUnreachable, err: fmt.Errorf("reach broker %s: %w", address, err), hint: hint}
}

// reason words an MQTT reason code and what the broker added to it.
func reason(code byte, text string) string {
	s := fmt.Sprintf("%s (0x%02x)", wire.Reason(code), code)
	if text != "" {
		s += ": " + text
	}
	return s
}

func disconnectError(address string, d *paho.Disconnect) error {
	text := ""
	if d.Properties != nil {
		text = d.Properties.ReasonString
	}
	return fmt.Errorf("broker %s closed the connection: %s", address, reason(d.ReasonCode, text))
}

// broken words the end of a connection that came without a DISCONNECT.
func (m *mqttConn) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("broker %s closed the connection without a reason", m.address)
	}
	return fmt.Errorf("connection to broker %s: %w", m.address, err)
}

// guard returns a context for one request: it ends with ctx, with the
// connection, or after wait.
func (m *mqttConn) guard(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithTimeout(ctx, wait)
	stop := context.AfterFunc(m.up, cancel)
	return bounded, func() { stop(); cancel() }
}

// explain words the failure of a request made with ctx: the user stopped it, or
// the broker closed the connection and maybe said why, or it did not answer.
func (m *mqttConn) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case m.up.Err() != nil:
		return context.Cause(m.up)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("broker %s does not answer", m.address)
	}
	// A request fails a moment before the reason has been read.
	wait := time.NewTimer(partingWait)
	defer wait.Stop()
	select {
	case <-m.up.Done():
		return context.Cause(m.up)
	case <-ctx.Done():
		return errInterrupted
	case <-wait.C:
		return err
	}
}

// settle returns when the broker has read everything sent so far, or with the
// reason why it will not.
func (m *mqttConn) settle(ctx context.Context, wait time.Duration) error {
	guarded, cancel := m.guard(ctx, wait)
	defer cancel()
	if err := m.pings.barrier(guarded); err != nil {
		return m.explain(ctx, err)
	}
	return nil
}

// close says goodbye, so that the broker drops the will, and returns when all
// messages received before have been handled and the broker has closed the
// connection, too, so that whoever comes next finds the session offline. It
// does not wait for that longer than partingWait.
func (m *mqttConn) close() {
	bye := paho.Disconnect{ReasonCode: packets.DisconnectNormalDisconnection}
	if _, err := bye.Packet().WriteTo(m.conn); err == nil {
		if half, ok := m.below.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // what still comes is not answered [MQTT-3.14.4-1]
		}
		wait := time.NewTimer(partingWait)
		defer wait.Stop()
		select {
		case <-m.up.Done():
		case <-wait.C:
		}
	}
	_ = m.client.Disconnect(&bye) // gone either way
}
