package appliance

import (
	"io/fs"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseByteSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want ByteSize
		err  string
	}{
		{in: "0B", want: 0},
		{in: "1B", want: 1},
		{in: "64KiB", want: 65536},
		{in: "64 kib", want: 65536},
		{in: "64KB", want: 64000},
		{in: "1.5MiB", want: 3 << 19},
		{in: "2GB", want: 2e9},
		{in: "8589934591GiB", want: 8589934591 << 30},
		{in: "8589934592GiB", err: `"8589934592GiB" is too large a size`},
		{in: "99999999999999999999GiB", err: `"99999999999999999999GiB" is too large a size`},
		{in: "64", err: `"64" has no unit; write it with one, such as 64KiB or 64MB (or 64B for bytes)`},
		{in: "64K", err: `"64K" has an unknown unit; use B, KB, KiB, MB, MiB, GB or GiB`},
		{in: "64TiB", err: `"64TiB" has an unknown unit; use B, KB, KiB, MB, MiB, GB or GiB`},
		{in: "", err: `"" is not a size; write a number and a unit, such as 64KiB or 1MB`},
		{in: "-1KiB", err: `"-1KiB" is not a size; write a number and a unit, such as 64KiB or 1MB`},
		{in: "1,000KB", err: `"1,000KB" is not a size; write a number and a unit, such as 64KiB or 1MB`},
		{in: " 1KB", err: `" 1KB" is not a size; write a number and a unit, such as 64KiB or 1MB`},
	} {
		var got ByteSize
		err := got.UnmarshalText([]byte(tt.in))
		checkParse(t, tt.in, got, err, tt.want, tt.err)
	}
}

func TestByteSizeString(t *testing.T) {
	for b, want := range map[ByteSize]string{0: "0B", 1: "1B", 1023: "1023B", 64 * KiB: "64KiB", 1500: "1500B", 1000: "1KB", MiB + KiB: "1025KiB", 3 * GiB: "3GiB", 5e6: "5MB"} {
		if got := b.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(b), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := ByteSize(rapid.Int64Min(0).Draw(t, "bytes"))
		text, err := b.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseByteSize(string(text)); err != nil || got != b {
			t.Fatalf("%s reads as %d, %v; want %d", text, int64(got), err, int64(b))
		}
	})
}

func TestParseDuration(t *testing.T) {
	const not = " is not a duration; write numbers with units, such as 500ms, 5s, 10m, 1h30m or 7d"
	for _, tt := range []struct {
		in   string
		want time.Duration
		err  string
	}{
		{in: "0s", want: 0},
		{in: "0d", want: 0},
		{in: "1500ms", want: 1500 * time.Millisecond},
		{in: "1h30m", want: 90 * time.Minute},
		{in: "7d", want: 168 * time.Hour},
		{in: "1d12h", want: 36 * time.Hour},
		{in: "106751d", want: 106751 * day},
		{in: "106752d", err: `"106752d" is too long a duration; the longest is 106751d`},
		{in: "106751d24h", err: `"106751d24h" is too long a duration; the longest is 106751d`},
		{in: "99999999999999999999d", err: `"99999999999999999999d" is too long a duration; the longest is 106751d`},
		{in: "5", err: `"5" has no unit; write it with one, such as 5s, 5m, 5h or 5d`},
		{in: "0", err: `"0" has no unit; write it with one, such as 0s, 0m, 0h or 0d`},
		{in: "", err: `""` + not},
		{in: "d", err: `"d"` + not},
		{in: "-5s", err: `"-5s"` + not},
		{in: "1d-5s", err: `"1d-5s"` + not},
		{in: "-1d", err: `"-1d"` + not},
		{in: "1.5d", err: `"1.5d"` + not},
		{in: "1d1d", err: `"1d1d"` + not},
		{in: "soon", err: `"soon"` + not},
	} {
		got, err := parseDuration(tt.in)
		checkParse(t, tt.in, got, err, tt.want, tt.err)
	}
}

func TestParseMode(t *testing.T) {
	const not = " is not a file mode; write it as for chmod, such as 0660"
	for _, tt := range []struct {
		in   string
		want fs.FileMode
		err  string
	}{
		{in: "0660", want: 0o660},
		{in: "660", want: 0o660},
		{in: "0o777", want: 0o777},
		{in: "1777", err: `"1777"` + not},
		{in: "0", err: `"0"` + not},
		{in: "668", err: `"668"` + not},
		{in: "-1", err: `"-1"` + not},
		{in: "u=rw", err: `"u=rw"` + not},
	} {
		got, err := parseMode(tt.in)
		checkParse(t, tt.in, got, err, tt.want, tt.err)
	}
}

func checkParse[T comparable](t *testing.T, in string, got T, err error, want T, wantErr string) {
	t.Helper()
	switch {
	case wantErr == "" && err != nil:
		t.Errorf("%q: %v", in, err)
	case wantErr != "" && (err == nil || err.Error() != wantErr):
		t.Errorf("%q: got error %v, want %s", in, err, wantErr)
	case wantErr == "" && got != want:
		t.Errorf("%q: got %v, want %v", in, got, want)
	}
}
