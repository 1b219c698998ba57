package appliance

import "github.com/synthetism/edgebroker/cores"

// WithProcessCores lets the broker decide how many processors the program uses:
// one, as long as one does the work, unless GOMAXPROCS says something else in the
// environment. Without it a broker changes nothing that the program around it may
// rely on. See package cores.
func WithProcessCores() Option { return func(b *Broker) { b.ownsCores = true } }

// keepCores begins to decide. What went before, such as to read the store, has all
// of them.
func (b *Broker) keepCores() {
	if b.ownsCores {
		b.cores.Store(cores.Keep(b.rest))
	}
}

// compute has work done that takes a processor for long.
func (b *Broker) compute(work func()) { b.cores.Load().Compute(work) }
