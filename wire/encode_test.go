package wire

import "testing"

// Through the exported encoders this would take gigabytes.
func TestAppendFrameRefusesWhatIsNoPacket(t *testing.T) {
	huge := make([]byte, maxVarint)
	if got := appendFrame([]byte("x"), CONNECT, 0, huge, []byte{0}); string(got) != "x" {
		t.Errorf("appended %d bytes", len(got)-1)
	}
}
