// Package edgebroker is the root of a module and exports nothing. It stands
// here so that the rules in policy_test.go, which hold for the whole tree,
// have a home.
//
// Edgebroker is an MQTT broker for ARM gateways: one static binary and a Go
// library. To run a broker inside a program import
// [github.com/synthetism/edgebroker/appliance]; the binary's commands are in
// cmd/edgebroker. docs/ARCHITECTURE.md describes how the parts fit.
package edgebroker
