package journal_test

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/synthetism/edgebroker/internal/faultdisk"
)

// listing says what the headers on d say.
func listing(d *faultdisk.Disk) string {
	var b strings.Builder
	for _, name := range d.Names() {
		h := d.Get(name)
		if len(h) < 64 || string(h[:8]) != "EDGEJRNL" {
			fmt.Fprintf(&b, "%s: %d bytes, no header\n", name, len(h))
			continue
		}
		fmt.Fprintf(&b, "%s: %d bytes, kind %d flags %d number %x root %x prev %x:%x\n", name, len(h), h[12], h[13],
			binary.LittleEndian.Uint32(h[32:]), binary.LittleEndian.Uint32(h[36:]), binary.LittleEndian.Uint32(h[44:]), binary.LittleEndian.Uint32(h[40:]))
	}
	return b.String()
}
