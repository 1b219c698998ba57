package brokertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// Ports are n addresses of this machine on which nothing listens just now, for
// what must be known before it is bound, or bound again. They are none of those that
// the system gives to whoever connects somewhere, which other tests do all the time.
func Ports(tb testing.TB, n int) []string {
	tb.Helper()
	var list []string
	for tries := 0; len(list) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", candidate()))
		if err != nil {
			if tries > 1000 {
				tb.Fatal(err)
			}
			continue
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list
}

// candidate is a port that may be free, 0 for any.
func candidate() int {
	const first = 10_000
	low, high := 32768, 0
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &low, &high)
	}
	if low < first+1000 {
		return 0
	}
	return first + rand.IntN(low-first)
}
