// SPDX-License-Identifier: Apache-2.0

package change

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// VerifyGitHub checks X-Hub-Signature-256: the HMAC-SHA256 of the body, in hexadecimal.
func VerifyGitHub(secret, signature string, body []byte) error {
	text, ok := strings.CutPrefix(signature, "sha256=")
	if !ok {
		return refuse(ReasonSignature, "header X-Hub-Signature-256 is missing or not of the form sha256=…")
	}
	given, err := hex.DecodeString(text)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return refuse(ReasonSignature, "X-Hub-Signature-256 does not match")
	}
	return nil
}

const webhookSecretPrefix = "whsec_"

// WebhookKey returns the key in a secret of Standard Webhooks: base64 behind whsec_, 24 to 64 bytes.
func WebhookKey(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, webhookSecretPrefix))
	if err != nil || !strings.HasPrefix(secret, webhookSecretPrefix) || len(key) < 24 || len(key) > 64 {
		return nil, refuse(ReasonInvalid, "a secret is whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// VerifyWebhook checks a request by Standard Webhooks 1.0.0: one of its signatures is right and its timestamp is within tolerance of now.
func VerifyWebhook(key []byte, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" {
		return refuse(ReasonSignature, "headers webhook-id and webhook-timestamp are missing or wrong")
	}
	at, limit := now.Unix(), int64(tolerance/time.Second)
	if seconds < at-limit || seconds > at+limit {
		return refuse(ReasonSignature, "webhook-timestamp is not within %s of now", tolerance)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	want := mac.Sum(nil)
	for part := range strings.FieldsSeq(header.Get("webhook-signature")) {
		text, ok := strings.CutPrefix(part, "v1,")
		if given, err := base64.StdEncoding.DecodeString(text); ok && err == nil && hmac.Equal(given, want) {
			return nil
		}
	}
	return refuse(ReasonSignature, "webhook-signature does not match")
}
