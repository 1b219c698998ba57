package bench

import (
	"bytes"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// A PUBREC behind the end of the connection is none of anybody's business.
func TestPahoSessionAfterTheEnd(t *testing.T) {
	s := newPahoSession()
	var out bytes.Buffer
	if err := s.ConAckReceived(&out, &packets.Connect{}, &packets.Connack{}); err != nil {
		t.Fatal(err)
	}
	rec := packets.NewControlPacket(packets.PUBREC)
	rec.Content.(*packets.Pubrec).PacketID = 7
	if err := s.PacketReceived(rec, nil); err != nil || out.Len() == 0 {
		t.Fatalf("a PUBREC of nothing got %d bytes, %v", out.Len(), err)
	}
	if err := s.ConnectionLost(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.PacketReceived(rec, nil); err != nil {
		t.Error(err)
	}
}
