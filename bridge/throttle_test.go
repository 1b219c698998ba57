package bridge

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever the sizes, what goes within a time is what the bounds allow for it,
// but for what may go at once and the last message; and what may go does go.
func TestThrottle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		messages := rapid.SampledFrom([]float64{0, 1, 7, 250, 5000}).Draw(rt, "messages per second")
		bytes := rapid.SampledFrom([]float64{0, 100, 10_000, 1_000_000}).Draw(rt, "bytes per second")
		sizes := rapid.SliceOfN(rapid.IntRange(0, 2000), 1, 50).Draw(rt, "sizes")
		if messages == 0 && bytes == 0 {
			messages = 100
		}
		synctest.Test(t, func(*testing.T) {
			began := time.Now()
			var mu sync.Mutex
			more := make(chan struct{}, 1)
			th := &throttle{rates: rates{messages: tokenBucket{rate: messages}, bytes: tokenBucket{rate: bytes}}, now: func() int64 { return int64(time.Since(began)) }}
			th.wake = func() {
				mu.Lock()
				th.woken()
				mu.Unlock()
				more <- struct{}{}
			}
			const span = 20 * time.Second
			n, sum, largest := 0.0, 0.0, 0.0
			end := time.NewTimer(span)
			for i := 0; ; {
				mu.Lock()
				over := th.over()
				if !over {
					size := float64(sizes[i%len(sizes)])
					th.spend(int(size))
					n, sum, largest = n+1, sum+size, max(largest, size)
					i++
				}
				mu.Unlock()
				if !over {
					if bytes > 0 && messages == 0 && sum == 0 && n > 1000 {
						break // nothing of any size: nothing bounds it
					}
					continue
				}
				select {
				case <-more:
					continue
				case <-end.C:
				}
				break
			}
			mu.Lock()
			th.stop()
			mu.Unlock()
			least := 0.95
			if messages > 0 && bytes > 0 {
				least = 0.5 // they wait for each other, and what may go at once is little
			}
			check := func(what string, got, rate, one float64) (reached bool) {
				if rate == 0 {
					return false
				}
				most := rate*span.Seconds() + 1 + rate/10 + one
				if got > most {
					rt.Errorf("%v %s went in %v at %v per second", got, what, span, rate)
				}
				return got >= least*rate*span.Seconds()-max(1, one)
			}
			a, b := check("messages", n, messages, 1), check("bytes", sum, bytes, largest)
			if !a && !b && sum > 0 {
				rt.Errorf("%v messages of %v bytes went in %v; %v and %v per second were free to go", n, sum, span, messages, bytes)
			}
		})
	})
}
