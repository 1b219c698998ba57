// Command relay copies what MQTT publishers send to the subscribers that a
// broker would send it to, and does nothing else of what a broker does. It is
// the physical limit in scripts/bench.sh: traffic equal to that of a broker,
// over the same sockets of the same kernel, at the least cost that we know how to
// achieve. See docs/PERFORMANCE.md.
//
// It has one thread and one epoll instance. A connection is wired when its first
// PUBLISH comes: to all connections that have subscribed to that topic by then.
// From there on whole frames are copied without a look at the topic, and
// QoS 1 is answered with PUBACK at once. Subscribers' acknowledgements are
// thrown away. There are no sessions, no checks, no packet identifiers of its
// own, no QoS 2, no retained messages, no keep alive. Do not let devices in.
//
// Its only argument is the address to listen on, as 127.0.0.1:1883.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "relay: error:", err)
		os.Exit(1)
	}
}
