// Package e2e holds the tests of a whole broker as its clients see it: over
// real sockets, with the clients that people use. It has no code of its own.
//
// Tests that need a program, such as mosquitto_pub, are skipped where it is
// not installed. With EDGEBROKER_E2E=1 in the environment they fail instead, but for
// those of promtool, which scripts/prometheus.sh brings along.
package e2e
