package appliance

import "testing"

func TestFullQueue(t *testing.T) {
	for _, tt := range []struct {
		word      WhenFull
		directory string
		want      WhenFull
	}{
		{"", "", DropOldest},
		{"", "/x", Refuse},
		{DropOldest, "/x", DropOldest},
		{DropNewest, "/x", DropNewest},
		{Refuse, "", Refuse},
	} {
		c := DefaultConfig()
		c.Sessions.WhenFull, c.Storage.Directory = tt.word, tt.directory
		if got := c.FullQueue(); got != tt.want {
			t.Errorf("%q with directory %q: got %q, want %q", tt.word, tt.directory, got, tt.want)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}
