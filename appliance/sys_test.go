package appliance

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/synthetism/edgebroker/wire"
	"pgregory.net/rapid"
)

// Ticks are at multiples of the interval, and never in quick succession, however
// the clock is set.
func TestUntilNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(t, "every"))
		now := time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "now"))
		d := untilNext(now, every)
		if d < every/2 || d > every+every/2 {
			t.Fatalf("%v to the next, at %v", d, every)
		}
		if at := now.Add(d).UnixNano(); at%int64(every) != 0 {
			t.Fatalf("%v after a multiple of %v", time.Duration(at%int64(every)), every)
		}
	})
}

// Any client identifier is one level of a topic, and can be told from all others
// unless it is cut.
func FuzzTopicLevel(f *testing.F) {
	for _, s := range []string{"", "pump-7", "a/b", "+", "#", "100%", "%2F", "a\nb", "\u0085", "ü☃", "$x", "\xff", strings.Repeat("/", 5000), strings.Repeat("ü", 3000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		level := topicLevel(s)
		if level != "" && wire.ValidTopicString(level) != nil || strings.ContainsAny(level, "/+#") || strings.ContainsFunc(level, unicode.IsControl) {
			t.Fatalf("%q becomes %q", s, level)
		}
		if len(level) > maxTopicLevel {
			t.Fatalf("%d bytes", len(level))
		}
		back, err := url.PathUnescape(level)
		if err != nil || !strings.HasPrefix(s, back) || back != s && len(level) < maxTopicLevel-3*utf8.UTFMax {
			t.Fatalf("%q becomes %q, which is %q", s, level, back)
		}
	})
}

func TestNodeName(t *testing.T) {
	if got := (SysConfig{Node: "x@y"}).NodeName(); got != "x@y" {
		t.Error(got)
	}
	if got := (SysConfig{}).NodeName(); !strings.HasPrefix(got, "edgebroker@") || len(got) < 12 {
		t.Error(got)
	}
}

func TestIPAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.168.8.2:55": "192.168.8.2", "[fe80::1]:5": "fe80::1", "[::ffff:10.0.0.1]:5": "10.0.0.1", "@": "", "": "", "unix": "", "pid 7": "",
	} {
		if got := ipAddress(remote); got != want {
			t.Errorf("%q: %q, want %q", remote, got, want)
		}
	}
}
