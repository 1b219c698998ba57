package moving

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/synthetism/edgebroker/appliance"
)

// bounds are what mosquitto's limits come to, 0 where it has none.
type bounds struct {
	packet, payload int64 // bytes
	aliases         int   // the most that any listener allows
	aliasesSet      bool
	memory          *setting // memory_limit, if it has been converted
}

func boundOptions() map[string]option {
	return map[string]option{
		"max_inflight_messages":        {global: (*conversion).maxInflight},
		"max_queued_messages":          {global: (*conversion).maxQueued},
		"max_queued_bytes":             {global: (*conversion).maxQueuedBytes},
		"max_packet_size":              {global: (*conversion).maxPacket},
		"message_size_limit":           {global: (*conversion).maxPayload},
		"memory_limit":                 {global: (*conversion).memoryLimit},
		"persistent_client_expiration": {global: (*conversion).clientExpiry},
		"sys_interval":                 {global: (*conversion).sysInterval},
		"global_max_clients":           {global: (*conversion).maxClients},
		"global_max_connections":       {global: (*conversion).maxConnections},
		"log_dest":                     {global: (*conversion).logDest},
		"log_type":                     {global: (*conversion).logType},
		"max_topic_alias_broker":       needless("clients say how many aliases they take"),
	}
}

// number reads the number of a line; ok is false, and the line impossible, where it
// has none, or one beyond what mosquitto or edgebroker take.
func number(s *setting, low, high int64) (n int64, ok bool) {
	n, err := strconv.ParseInt(s.Word(), 10, 64)
	if err != nil {
		s.says(Impossible, "", "is not a number")
		return 0, false
	}
	if n < low || n > high {
		s.says(Impossible, "", fmt.Sprintf("is not within %d to %d", low, high))
		return 0, false
	}
	return n, true
}

func (c *conversion) maxInflight(s *setting) {
	n, ok := number(s, math.MinInt32, math.MaxUint16)
	if !ok {
		return
	}
	s.says(Converted, "limits.max_inflight", "")
	if n <= 0 {
		n = math.MaxUint16
		s.says(Changed, "limits.max_inflight", "0 was any number, here it is the most that MQTT has")
	}
	c.yml.set("limits.max_inflight", int(n))
}

func (c *conversion) maxQueued(s *setting) {
	n, ok := number(s, math.MinInt32, math.MaxInt32)
	if !ok {
		return
	}
	s.says(Converted, "sessions.max_queued_messages", "")
	if n <= 0 {
		n = math.MaxInt32
		s.says(Changed, "sessions.max_queued_messages", "0 was any number; here sessions.max_queued_bytes bounds them as well")
	}
	c.yml.set("sessions.max_queued_messages", int(n))
}

func (c *conversion) maxQueuedBytes(s *setting) {
	n, ok := number(s, math.MinInt64, math.MaxInt64)
	switch {
	case !ok:
	case n <= 0:
		s.says(Changed, "sessions.max_queued_bytes", "0 was any number of bytes; here it is what edgebroker has by default")
	case n < 1<<10:
		s.says(Changed, "sessions.max_queued_bytes", "1 KiB is the least")
		n = 1 << 10
		fallthrough
	default:
		if s.entry.Verdict == "" {
			s.says(Converted, "sessions.max_queued_bytes", "")
		}
		c.yml.set("sessions.max_queued_bytes", appliance.ByteSize(n))
	}
}

func (c *conversion) maxPacket(s *setting) {
	n, ok := number(s, 20, math.MaxInt64)
	if !ok {
		return
	}
	s.says(Converted, "limits.max_packet_size", "")
	switch {
	case n < 1<<10:
		s.says(Changed, "limits.max_packet_size", "1 KiB is the least")
	case n > largestPacket:
		s.says(Changed, "limits.max_packet_size", "256 MiB is the most, as MQTT has it")
	}
	c.bounds.packet = n
}

func (c *conversion) maxPayload(s *setting) {
	n, ok := number(s, 0, math.MaxInt64)
	switch {
	case !ok:
	case n == 0:
		s.says(NotNeeded, "", "0 was no limit")
	default:
		s.says(Changed, "limits.max_packet_size", "is for whole packets, 64 KiB more so that the topic has room; who sends more is disconnected, not just ignored")
		c.bounds.payload = n
	}
}

const (
	largestPacket  = 256 << 20
	roomForTopic   = 64 << 10
	smallestMemory = 24 << 20
)

func (c *conversion) memoryLimit(s *setting) {
	n, ok := number(s, 0, math.MaxInt64)
	switch {
	case !ok:
	case n == 0:
		s.says(NotNeeded, "", "0 was no limit")
	case n < 2*smallestMemory:
		s.says(Impossible, "", "memory is for the whole process, not its heap alone, and this is too little for it; memory: auto goes by the machine")
	default:
		s.says(Changed, "memory", "is for the whole process, not its heap alone")
		c.yml.set("memory", appliance.ByteSize(n))
		c.bounds.memory = s
	}
}

func (c *conversion) clientExpiry(s *setting) {
	text := s.Word()
	day := 24 * time.Hour
	units := map[byte]time.Duration{'h': time.Hour, 'd': day, 'w': 7 * day, 'm': 30 * day, 'y': 365 * day}
	unit := units[text[len(text)-1]]
	n, err := strconv.ParseInt(text[:len(text)-1], 10, 32)
	const most = 49710
	switch {
	case unit == 0 || err != nil || n <= 0:
		s.says(Impossible, "", "is not a number with one of h d w m y; mosquitto does not start with it")
		return
	case n > int64(most*day/unit):
		c.yml.set("sessions.max_expiry", most*day)
		s.says(Changed, "sessions.max_expiry", "136 years are the most")
	default:
		c.yml.set("sessions.max_expiry", time.Duration(n)*unit)
		s.says(Converted, "sessions.max_expiry", "")
	}
	c.expiry = true
}

func (c *conversion) sysInterval(s *setting) {
	if n, ok := number(s, 0, math.MaxUint16); ok {
		c.yml.set("sys.interval", time.Duration(n)*time.Second)
		if n == 0 {
			c.yml.set("sys.interval", literal("0s"))
		}
		s.says(Converted, "sys.interval", "")
	}
}

func (c *conversion) maxClients(s *setting) {
	c.atMost(s, "sessions.max_sessions")
}

func (c *conversion) maxConnections(s *setting) {
	c.atMost(s, "limits.max_connections")
}

// atMost sets a bound of which a negative one is none.
func (c *conversion) atMost(s *setting, key string) {
	n, ok := number(s, math.MinInt32, math.MaxInt32)
	switch {
	case !ok:
	case n == 0:
		s.says(Impossible, "", "0 keeps everybody out; stop the broker for that")
		s.entry.Security = true
	case n < 0:
		s.says(NotNeeded, "", key+" is a bound already")
	default:
		c.yml.set(key, int(n))
		s.says(Converted, key, "")
	}
}

func (c *conversion) persists(s *setting) {
	v, ok := truth(s)
	switch {
	case !ok:
	case v:
		c.persistence = true
		c.yml.set("storage.directory", c.o.Data)
		s.says(Changed, "storage.directory", "what is acknowledged is on the disk before; what mosquitto has stored is not moved")
	default:
		s.says(Converted, "storage.directory", "state is in memory; under systemd serve keeps it all the same, in StateDirectory")
	}
}

func (c *conversion) persistenceLocation(s *setting) {
	s.says(NotNeeded, "", "the store has a folder of its own, see --data; what mosquitto has stored is not moved")
}

// makeBounds sets the bounds that several lines have a part in.
func (c *conversion) makeBounds() {
	b := c.bounds
	size := b.packet
	if b.payload > 0 && (size == 0 || b.payload+roomForTopic < size) {
		size = b.payload + roomForTopic
	}
	if size > 0 {
		size = min(max(size, 1<<10), largestPacket-1)
		c.yml.set("limits.max_packet_size", appliance.ByteSize(size))
	}
	cfg := appliance.DefaultConfig()
	packet := cmp.Or(appliance.ByteSize(size), cfg.Limits.MaxPacketSize)
	queue, _ := c.yml.get("sessions.max_queued_bytes").(appliance.ByteSize)
	queue = cmp.Or(queue, cfg.Sessions.MaxQueuedBytes)
	if queue < packet {
		queue = packet // else it could never hold such a packet
		c.yml.set("sessions.max_queued_bytes", queue)
	}
	if queue > cfg.Sessions.TotalQueuedBytes {
		c.yml.set("sessions.total_queued_bytes", queue)
	}
	if b.aliasesSet {
		c.yml.set("limits.max_topic_alias", b.aliases)
	}
	c.yml.set("sessions.when_full", string(appliance.DropNewest))
	if !c.expiry {
		c.yml.set("sessions.max_expiry", 3650*24*time.Hour)
	}
}

// defaults are entries for what mosquitto does where its file says nothing.
func (c *conversion) defaults() (list Report) {
	add := func(setting string, v Verdict, to, note string) {
		list = append(list, Outcome{File: c.o.File, Setting: setting, Verdict: v, To: to, Note: note})
	}
	add("(full queues)", Converted, "sessions.when_full", "what does not fit is dropped, as mosquitto does; without this key it would be refused, so that nothing acknowledged is lost")
	if len(c.listen) == 1 && c.listen[0].fallback && !c.listen[0].bound && c.listen[0].why == "" {
		add("(no listener)", Changed, "listeners", "127.0.0.1:1883 alone, for this machine, with passwords and rules if there are any; mosquitto 1 listens on every address (--mosquitto 1)")
	}
	if !c.expiry {
		add("(no persistent_client_expiration)", Changed, "sessions.max_expiry", "sessions of clients that stay away end after ten years, not never")
	}
	if c.bounds.packet == 0 && c.bounds.payload == 0 {
		add("(no max_packet_size)", Changed, "limits.max_packet_size", "packets have 1 MiB at most; raise it if your devices send larger ones")
	}
	return list
}

// literal is a value that stands in the config as it is.
type literal string

// logging is what is logged.
type logging struct {
	types []*setting
	none  *setting // log_dest none
	dest  bool     // there is another
}

func (c *conversion) logDest(s *setting) {
	c.logging.dest = true
	switch s.Word() {
	case "stderr":
		s.says(Converted, "log.format", "the log goes to standard error")
	case "stdout":
		s.says(Changed, "", "the log goes to standard error")
	case "syslog":
		s.says(Changed, "log.format", "the log goes to standard error, and so to systemd's journal")
	case "file":
		s.says(Changed, "", "the log goes to standard error, and so to systemd's journal: journalctl -u edgebroker")
	case "topic":
		s.says(Impossible, "", "the log is on no topics; events.sinks with type: mqtt tells there what happens")
	case "dlt":
		s.says(Impossible, "", "there is no DLT; the log goes to standard error")
	case "none":
		c.logging.none = s
		s.says(Changed, "log.level", "errors are logged all the same")
	default:
		s.says(Impossible, "", "is unknown; mosquitto does not start with it")
	}
}

func (c *conversion) logType(s *setting) {
	switch s.Word() {
	case "debug", "all", "information", "notice", "warning", "error", "none", "subscribe", "unsubscribe", "websockets", "internal":
		c.logging.types = append(c.logging.types, s)
	default:
		s.says(Impossible, "", "is unknown; mosquitto does not start with it")
	}
}

// makeLog sets log.level to the lowest of what is to be logged.
func (c *conversion) makeLog() {
	rank := map[string]int{"none": 0, "error": 1, "warning": 2, "notice": 3, "information": 3, "debug": 4, "all": 4, "subscribe": 4, "unsubscribe": 4}
	level := -1
	for _, s := range c.logging.types {
		r, known := rank[s.Word()]
		switch {
		case !known:
			s.says(NotNeeded, "", "log.level is for everything")
		case s.Word() == "subscribe" || s.Word() == "unsubscribe":
			s.says(Changed, "", "edgebroker events --type subscription tells it")
			continue
		case s.Word() == "none":
			level = 0
			s.says(Changed, "log.level", "errors are logged all the same")
		default:
			s.says(Converted, "log.level", "")
		}
		level = max(level, r)
	}
	if c.logging.none != nil {
		level = 0
	}
	if level >= 0 {
		c.yml.set("log.level", []string{"error", "error", "warn", "info", "debug"}[level])
	}
}
