package bench

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// listenUntilInputEnds is a process of its own, and prints where it listens.
func listenUntilInputEnds(where string) {
	network, address, _ := strings.Cut(where, " ")
	ln, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	at := ln.Addr().String()
	switch {
	case network == "unix":
		at = "unix:" + at
	case strings.HasPrefix(address, ":"):
		at = fmt.Sprintf("127.0.0.1:%d", ln.Addr().(*net.TCPAddr).Port)
	}
	fmt.Println(at)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
