package main

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/synthetism/edgebroker/statsd"
	"github.com/synthetism/edgebroker/store"
)

// storeInfo is what `store info -o json` prints; its names are stable.
type storeInfo struct {
	Directory string  `json:"directory"`
	State     string  `json:"state"` // of a running broker "ok", "full" or "failed"; of a folder "closed" or "open"
	Reason    string  `json:"reason,omitempty"`
	Age       float64 `json:"age"` // seconds that a broker has run on it

	Sessions      int64 `json:"sessions"`
	Connected     int64 `json:"connected"` // of them, or when the broker ended
	Subscriptions int64 `json:"subscriptions"`
	Queued        int64 `json:"queued"` // messages that wait or are not acknowledged
	Retained      int64 `json:"retained"`

	Segments    int      `json:"segments"`
	Records     int64    `json:"records,omitempty"` // of a folder
	UsedBytes   int64    `json:"usedBytes"`         // of all files
	BudgetBytes int64    `json:"budgetBytes,omitempty"`
	FullPercent *float64 `json:"fullPercent,omitempty"` // of a running broker with a limit, of what messages may take
	Damage      int      `json:"damage"`                // places; of a running broker those that it found when it started
	TornBytes   int64    `json:"tornBytes"`             // at the end, of a folder: written and never acknowledged
	Aside       int      `json:"aside"`                 // copies of damaged files
	Dropped     uint64   `json:"dropped"`               // messages, ever

	WrittenBytes     uint64  `json:"writtenBytes"` // to the files, ever
	BlockBytes       uint64  `json:"blockBytes"`   // to the block layer, ever; 0 if unknown
	BytesPerDay      float64 `json:"bytesPerDay"`  // 0 if it has not run long enough to tell
	BlockBytesPerDay float64 `json:"blockBytesPerDay"`
	TodayBytes       uint64  `json:"todayBytes"`                 // in the day of running that has begun
	DailyBudget      int64   `json:"dailyBudgetBytes,omitempty"` // of a running broker

	Endurance uint64  `json:"enduranceBytes,omitempty"` // as asked
	LifeDays  float64 `json:"lifeDays,omitempty"`       // that it lasts, of running

	full string // FullPercent in words
}

// leastAge is how long a store must have run before a day is made of it.
const leastAge = time.Minute

func runStoreInfo(e *env, c *cli.Context) error {
	_, format, err := e.asked(c, 0, 0)
	if err != nil {
		return err
	}
	endurance, err := enduranceFlag(c)
	if err != nil {
		return err
	}
	var info storeInfo
	if c.Path("data") == "" {
		s, err := askStorage(c)
		if err != nil {
			return err
		}
		info = liveInfo(&s)
	} else {
		dir, err := storeDir(c)
		if err != nil {
			return err
		}
		contents, holder, err := inspectStore(e, c, dir)
		if err != nil {
			return err
		}
		info = folderInfo(dir, contents, holder)
	}
	info.estimate(endurance)
	if format != "table" {
		return writeJSON(e.stdout, info, format == "json")
	}
	return info.write(e.stdout)
}

// enduranceFlag is the value of --endurance, 0 if there is none.
func enduranceFlag(c *cli.Context) (uint64, error) {
	text := c.String("endurance")
	if text == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(text)
	if !regexp.MustCompile(`(?i)^[0-9.]+ ?[kmgtp]i?b$`).MatchString(text) || err != nil || n == 0 {
		return 0, usageError(commandPath(c), "--endurance %q is not a size with its unit, such as 30TB or 500GB", text)
	}
	return n, nil
}

// liveInfo is what a running broker tells.
func liveInfo(s *statsd.Snapshot) storeInfo {
	st := &s.Storage
	info := storeInfo{
		Directory: st.Directory, State: st.State, Reason: st.Reason, Age: st.Age,
		Sessions: s.Sessions.Total, Connected: s.Sessions.Connected, Subscriptions: s.Subscriptions.Total,
		Queued: s.Queued.Messages + s.Queued.Inflight, Retained: s.Retained.Messages,
		Segments: st.Segments, UsedBytes: st.UsedBytes, BudgetBytes: st.BudgetBytes,
		Damage: st.Recovered.Damage, TornBytes: st.Recovered.TornBytes, Dropped: s.Dropped.Total,
		WrittenBytes: st.LifetimeBytes, BlockBytes: st.LifetimeBlockBytes,
	}
	if percent, ok := st.Full(); ok {
		info.FullPercent, info.full = &percent, st.FullText()
	}
	if b := st.Budget; b != nil {
		info.DailyBudget, info.TodayBytes = b.DailyBytes, uint64(b.UsedBytes)
	}
	return info
}

// folderInfo is what the files tell.
func folderInfo(dir string, c *store.Contents, holder lockHolder) storeInfo {
	info := storeInfo{
		Directory: dir, State: "closed", Age: c.Log.Clock.Seconds(),
		Sessions: int64(len(c.Sessions)), Retained: int64(len(c.Retained)),
		Segments: c.Log.Segments + c.Log.Old, Records: c.Log.Records + c.Log.OldRecords, UsedBytes: c.Log.UsedBytes,
		Damage: len(c.Damage), TornBytes: c.Log.Torn.Bytes, Aside: len(c.Log.Aside),
		WrittenBytes: c.Wear.Written, BlockBytes: c.Wear.Block, TodayBytes: c.Wear.Today(),
	}
	if holder.held {
		info.State = "open"
	}
	for _, st := range c.Sessions {
		info.Queued += int64(store.Queued(st))
		info.Subscriptions += int64(len(st.Subs))
		if st.Attached {
			info.Connected++
		}
	}
	for _, n := range c.Drops {
		info.Dropped += n
	}
	return info
}

// estimate fills in what is written in a day, and how long endurance lasts.
func (i *storeInfo) estimate(endurance uint64) {
	i.Endurance = endurance
	if i.Age < leastAge.Seconds() {
		return
	}
	days := i.Age / (24 * time.Hour).Seconds()
	i.BytesPerDay, i.BlockBytesPerDay = float64(i.WrittenBytes)/days, float64(i.BlockBytes)/days
	if daily := i.wear(); daily > 0 && endurance > 0 {
		i.LifeDays = float64(endurance) / daily
	}
}

// wear is what counts for the life of the flash, in bytes a day.
func (i *storeInfo) wear() float64 { return max(i.BytesPerDay, i.BlockBytesPerDay) }

func (i *storeInfo) write(w io.Writer) error {
	table := newTable("")
	table.fact("directory", "%s", i.Directory)
	table.fact("state", "%s", because(i.State, i.Reason))
	age := span(time.Duration(i.Age * float64(time.Second)))
	table.fact("age", "%s of running", age)
	connected := fmt.Sprintf("%s connected", count(i.Connected))
	if i.State == "closed" {
		connected = fmt.Sprintf("%s connected at the end", count(i.Connected))
	}
	table.fact("sessions", "%s (%s), %s", count(i.Sessions), connected, things(i.Subscriptions, "subscription"))
	table.fact("queued", "%s", messages(i.Queued))
	table.fact("retained", "%s", messages(i.Retained))
	table.fact("dropped", "%s ever", messages(i.Dropped))
	if i.full != "" {
		table.fact("full", "%s", i.full)
	}
	limit := ""
	if i.BudgetBytes > 0 {
		limit = " of " + size(i.BudgetBytes)
	}
	table.fact("files", "%s%s, %s", size(i.UsedBytes), limit, things(i.Segments, "segment"))
	if i.Records > 0 {
		table.fact("records", "%s", count(i.Records))
	}
	table.fact("damage", "%s", i.damageWords())
	table.fact("written", "%s ever%s", size(i.WrittenBytes), i.perDay(i.BytesPerDay))
	if i.BlockBytes > 0 {
		table.fact("to the disk", "%s ever%s", size(i.BlockBytes), i.perDay(i.BlockBytesPerDay))
	}
	if i.DailyBudget > 0 {
		table.fact("today", "%s of %s", size(i.TodayBytes), size(i.DailyBudget))
	}
	if i.Endurance > 0 {
		table.fact("life", "%s", i.lifeWords())
	}
	return table.writeTo(w)
}

func (i *storeInfo) damageWords() string {
	words := "none"
	if i.Damage > 0 {
		words = things(i.Damage, "place") + "; see `edgebroker store verify`"
	}
	if i.TornBytes > 0 {
		words += fmt.Sprintf("; torn end of %d B, never acknowledged", i.TornBytes)
	}
	if i.Aside > 0 {
		words += "; " + things(i.Aside, "damaged file") + " set aside as .bad"
	}
	return words
}

func (i *storeInfo) perDay(bytes float64) string {
	if i.Age < leastAge.Seconds() {
		return "; too early to say how much a day"
	}
	return fmt.Sprintf(", %s a day", humanBytes(bytes))
}

// humanBytes writes megabytes, by which flash is sold, or what is nearer.
func humanBytes(bytes float64) string { return humanize.Bytes(uint64(min(bytes, math.MaxInt64))) }

func (i *storeInfo) lifeWords() string {
	switch years := i.LifeDays / 365.25; {
	case i.Age < leastAge.Seconds():
		return "too early to tell: the store has run for less than " + span(leastAge)
	case i.LifeDays == 0:
		return "nothing has been written"
	case years > 1000:
		return fmt.Sprintf("%s last more than 1,000 years at %s a day", humanBytes(float64(i.Endurance)), humanBytes(i.wear()))
	case years >= 2:
		return fmt.Sprintf("%s last %.1f years at %s a day", humanBytes(float64(i.Endurance)), years, humanBytes(i.wear()))
	}
	return fmt.Sprintf("%s last %.1f days at %s a day", humanBytes(float64(i.Endurance)), i.LifeDays, humanBytes(i.wear()))
}
