package sinks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery, which are those of the Standard Webhooks
// specification.
const (
	HeaderID        = "Webhook-Id"        // the same whenever the same batch is sent again
	HeaderTimestamp = "Webhook-Timestamp" // of this attempt, in seconds since 1970
	HeaderSignature = "Webhook-Signature" // "v1," and the HMAC-SHA256 of "ID.TIMESTAMP.BODY" in base64
)

// secretPrefix stands before a key in base64.
const secretPrefix = "whsec_"

// sign sets the headers for body. Without a secret nothing is signed.
func sign(h http.Header, body, secret []byte, now time.Time) error {
	sum := sha256.Sum256(body)
	id, at := "batch_"+hex.EncodeToString(sum[:16]), strconv.FormatInt(now.Unix(), 10)
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, at)
	if secret == nil {
		return nil
	}
	key := secret
	if text, ok := strings.CutPrefix(string(secret), secretPrefix); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(text); err != nil { // the error would show some of it
			return fmt.Errorf("what follows %s in the secret is not base64; write 24 to 64 random bytes in base64, or leave %[1]s off", secretPrefix)
		}
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	h.Set(HeaderSignature, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}
