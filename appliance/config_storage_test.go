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

func TestDurabilityOf(t *testing.T) {
	c, err := ParseConfig("eb.yml", []byte(`storage:
  durability: flush
  topics:
    - {filter: telemetry/alarm/#, durability: fsync}
    - {filter: telemetry/#, durability: memory}
    - {filter: +/state, durability: fsync}
`))
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]Durability{
		"telemetry/alarm/1": DurabilityFsync,
		"telemetry/alarm":   DurabilityFsync,
		"telemetry":         DurabilityMemory,
		"telemetry/state":   DurabilityMemory, // the first that matches
		"line/state":        DurabilityFsync,
		"line/state/x":      DurabilityFlush,
	} {
		if got := c.Storage.DurabilityOf(topic); got != want {
			t.Errorf("%s: got %s, want %s", topic, got, want)
		}
	}
}
