// Package footprint holds what a whole broker takes to bounds that no clock is
// needed for: memory of a connection, allocations of an operation, bytes on the
// disk of a message. Each test has the process for itself, so none is parallel, and
// the clients are bare sockets, which allocate nothing.
package footprint
