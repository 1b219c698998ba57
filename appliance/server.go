package appliance

import (
	"log/slog"
	"math"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// newServer makes the MQTT server for the control side of connections. What
// it would do about messages is turned down as far as it goes, since none
// ever reaches it.
func newServer(log *slog.Logger) *mqtt.Server {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumMessageExpiryInterval = 0
	caps.MaximumClientWritesPending = 1 // 8 bytes a slot and connection; nothing is ever queued there
	caps.MaximumInflight = 1
	caps.TopicAliasMaximum = 0
	caps.MinimumProtocolVersion = 3
	return mqtt.New(&mqtt.Options{
		Capabilities:            caps,
		ClientNetReadBufferSize: 256, // the connection has a buffer of its own
		// Its $SYS topics are not ours; every tick reads all statistics.
		SysTopicResendInterval: math.MaxInt32,
		Logger:                 slog.New(mochiLog{log.With("component", "mqtt").Handler()}),
	})
}
