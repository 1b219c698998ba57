// Package appliance is one running broker: its configuration, its life, and
// the interface for Go programs that embed it. It is the only package that
// knows how the parts fit together.
//
// A [Broker] is used once, and may be asked from any goroutine; a program may have
// several.
//
//	b, err := appliance.New(appliance.DefaultConfig())
//	if err != nil { ... }
//	b.On("connection", func(e events.Event) { ... })
//	if err := b.Start(ctx); err != nil { ... }
//	defer b.Stop(context.Background())
package appliance
