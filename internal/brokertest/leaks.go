package brokertest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"
)

// NoLeaks fails the test if goroutines that were started after this call are
// still there when the test and the cleanups registered later are over. Such
// a goroutine has Patience to end. Tests that run in parallel with others
// cannot use it.
func NoLeaks(tb testing.TB) {
	tb.Helper()
	before := goroutines()
	tb.Cleanup(func() {
		deadline := time.Now().Add(Patience)
		var left []string
		for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
			left = left[:0]
			for id, stack := range goroutines() {
				if _, old := before[id]; !old {
					left = append(left, stack)
				}
			}
			if len(left) == 0 || time.Now().After(deadline) {
				break
			}
			time.Sleep(pause)
		}
		if len(left) > 0 {
			tb.Errorf("%d goroutines are left over:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
}

// goroutines returns the stack of every goroutine but the caller's by its
// number.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := make(map[string]string)
	for i, stack := range bytes.Split(buf, []byte("\n\n")) {
		head, _, _ := bytes.Cut(stack, []byte(" ["))
		if i > 0 { // the first is the caller's
			all[string(head)] = string(stack)
		}
	}
	return all
}
