package main

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/internal/dial"
)

// endpoint is a broker, and what to show it and ask of it over TLS.
type endpoint struct {
	address string
	tls     *tls.Config // nil: not over TLS
}

// broker is the endpoint that the flags name.
func broker(c *cli.Context) (endpoint, error) {
	address, err := brokerAddress(c)
	if err != nil {
		return endpoint{}, err
	}
	config, err := tlsFlags(c, address)
	return endpoint{address, config}, err
}

// brokerAddress is the address that --address, or --host and --port, name.
func brokerAddress(c *cli.Context) (string, error) {
	address, host, port := c.String("address"), c.String("host"), c.Int("port")
	switch {
	case address != "" && (host != "" || c.IsSet("port")):
		return "", usageError(commandPath(c), "--address takes the place of --host and --port; give one or the other")
	case c.IsSet("port") && (port < 1 || port > 65535):
		return "", usageError(commandPath(c), "--port %d is outside 1 to 65535", port)
	case host != "" || c.IsSet("port"):
		if host == "" {
			host = "127.0.0.1"
		}
		if port == 0 {
			port = 1883
		}
		return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port)), nil
	case address == "":
		return defaultBroker, nil
	case strings.HasPrefix(address, "unix:"), strings.HasPrefix(address, "ws://"), strings.HasPrefix(address, "wss://"):
		return address, nil
	}
	if where, ok := strings.CutPrefix(address, "mqtts://"); ok {
		return "mqtts://" + withPort(where, "8883"), nil
	}
	address = strings.TrimPrefix(strings.TrimPrefix(address, "mqtt://"), "tcp://")
	return withPort(address, "1883"), nil
}

// withPort adds the port to a host that comes without.
func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return net.JoinHostPort(strings.Trim(address, "[]"), port)
	}
	return address
}

// tlsFlags is the TLS configuration that the flags describe, for address.
func tlsFlags(c *cli.Context, address string) (*tls.Config, error) {
	if !dial.Secured(address) {
		for _, name := range []string{"cafile", "cert", "key", "insecure"} {
			if c.IsSet(name) {
				return nil, usageError(commandPath(c), "--%s is for TLS, which %s is not; write mqtts://HOST:PORT or wss://HOST:PORT/mqtt", name, address)
			}
		}
		return nil, nil
	}
	config, err := dial.TLS{CAFile: c.String("cafile"), CertFile: c.String("cert"), KeyFile: c.String("key"), Insecure: c.Bool("insecure")}.Config()
	if err != nil {
		return nil, &failure{code: exitUsage, err: err, hint: "--cafile, --cert and --key name PEM files"}
	}
	return config, nil
}
