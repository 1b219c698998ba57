package hooks

import (
	"errors"
	"io"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/synthetism/edgebroker/listen"
)

// Control has server work on the control frame that conn yields, as it would on
// that of a client which it reads itself. It is the listener's Control: server
// knows nothing of conn before and after.
func Control(server *mqtt.Server, conn *listen.Conn) error {
	cl := server.NewClient(conn, conn.Listener(), conn.ID(), false)
	cl.Properties.ProtocolVersion = byte(conn.Version())
	err := cl.Read(func(cl *mqtt.Client, pk packets.Packet) error {
		err := server.InjectPacket(cl, pk)
		if code, ok := err.(packets.Code); ok && pk.ProtocolVersion == 5 && code.Code >= packets.ErrUnspecifiedError.Code {
			_ = server.DisconnectClient(cl, code) // that it has been told to is err
		}
		return err
	})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
