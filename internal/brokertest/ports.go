package brokertest

import (
	"net"
	"testing"
)

// Ports are n addresses of this machine on which nothing listens just now, for
// what must be known before it is bound, or bound again.
func Ports(tb testing.TB, n int) []string {
	tb.Helper()
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list
}
