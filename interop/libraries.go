package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
)

// openLibraries is every library of the matrix, in the order of the table.
// closeAll ends the drivers and must be called also after an error.
func openLibraries(ctx context.Context, python string, stderr io.Writer) (libraries []*Library, closeAll func(), err error) {
	var drivers []*driver
	closeAll = func() {
		for _, d := range drivers {
			d.close()
		}
	}
	for _, program := range [][]string{{"node", "interop/mqttjs.js"}, {python, "interop/paho_python.py"}} {
		d, err := startDriver(ctx, stderr, program...)
		if err != nil {
			return nil, closeAll, fmt.Errorf("start %s: %w", program[1], err)
		}
		drivers = append(drivers, d)
		libraries = append(libraries, d.library)
	}
	m, err := mosquitto(ctx)
	if err != nil {
		return nil, closeAll, err
	}
	return append(libraries, m, pahoMQTT(), pahoV5()), closeAll, nil
}

// moduleVersion is the version of a module that this program was built with.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "(unknown version)"
}
