// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/signal"
)

// cloudEventsType is the media type of a CloudEvent in structured mode (CloudEvents 1.0.2, HTTP protocol binding, section 3.2).
const cloudEventsType = "application/cloudevents+json"

// maxResponse is how much of an answer is read so that the connection can be used again.
const maxResponse = 64 << 10

// cloudEvents posts each signal as one CloudEvent.
type cloudEvents struct {
	cfg      *CloudEventsConfig
	settings component.TelemetrySettings
	clock    func() time.Time
	key      []byte
	client   *http.Client
	// gone is set when the receiver answered that it was retired; nothing is sent to it again until the next start.
	gone atomic.Bool
}

func newCloudEvents(cfg *CloudEventsConfig, set exporter.Settings, clock func() time.Time) (*cloudEvents, error) {
	c := &cloudEvents{cfg: cfg, settings: set.TelemetrySettings, clock: clock}
	if cfg.Secret != "" {
		key, err := decodeSecret(string(cfg.Secret))
		if err != nil {
			return nil, err
		}
		c.key = key
	}
	return c, nil
}

func (*cloudEvents) name() string { return "cloudevents" }

func (c *cloudEvents) start(ctx context.Context, host component.Host) error {
	client, err := c.cfg.ClientConfig.ToClient(ctx, host.GetExtensions(), c.settings)
	if err != nil {
		return err
	}
	c.client = withoutRedirects(client)
	return nil
}

func (c *cloudEvents) shutdown(context.Context) error {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	return nil
}

// event is a CloudEvent 1.0 in its JSON form.
type event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            string          `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	DataSchema      string          `json:"dataschema"`
	Data            json.RawMessage `json:"data"`
}

// eventID names one envelope of one signal: source and id together identify an event, so an update in the same state needs another
// id than the envelope before it.
func eventID(e signal.Envelope) string {
	id := e.ID + "." + string(e.State)
	if e.State == signal.StateFiring && e.Update > 0 {
		id += "." + strconv.Itoa(e.Update)
	}
	return id
}

func newEvent(source string, e signal.Envelope) ([]byte, error) {
	data, err := e.MarshalCanonical()
	if err != nil {
		return nil, err
	}
	subject := e.Target.Service
	if subject == "" {
		subject = e.Target.Objective
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err = enc.Encode(event{
		SpecVersion: "1.0", ID: eventID(e), Source: source, Type: e.Kind, Subject: subject,
		Time: e.UpdatedAt.UTC().Format(time.RFC3339Nano), DataContentType: "application/json", DataSchema: signal.SchemaURI, Data: data,
	})
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

func (c *cloudEvents) send(ctx context.Context, e signal.Envelope) error {
	if c.gone.Load() {
		return &sinkError{outcome: outcomeGone, err: errGone}
	}
	body, err := newEvent(c.cfg.Source, e)
	if err != nil {
		return &sinkError{outcome: outcomeEncodeFailed, err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.ClientConfig.Endpoint, bytes.NewReader(body))
	if err != nil {
		return &sinkError{outcome: outcomeEncodeFailed, err: err}
	}
	req.Header.Set("Content-Type", cloudEventsType)
	if c.key != nil {
		sign(req.Header, c.key, eventID(e), c.clock(), body)
	}
	err = post(c.client, req, c.clock)
	if outcomeOf(err) == outcomeGone && !c.gone.Swap(true) {
		c.settings.Logger.Error("the receiver of CloudEvents says it is gone; nothing more is sent to it until the next start", zap.Error(err))
	}
	return err
}

var (
	errStatus = errors.New("receiver answered")
	errGone   = errors.New("the receiver is gone")
)

// post sends a request and says what its answer means. 2xx is success. 408, 425, 429 and 5xx, and failures of the network, are worth
// another attempt, after Retry-After where it is given. 410 retires the receiver (CloudEvents webhook specification 1.0.2, section
// 2.2). A redirect is refused: signals go where the configuration says. Everything else is final.
func post(client *http.Client, req *http.Request, clock func() time.Time) error {
	resp, err := client.Do(req)
	if err != nil {
		return &sinkError{outcome: outcomeRetry, err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	// The body is of no use, except that reading it frees the connection.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxResponse))
	code := resp.StatusCode
	s := &sinkError{err: fmt.Errorf("%w %d", errStatus, code)}
	switch {
	case code >= 200 && code <= 299:
		return nil
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		s.outcome, s.wait = outcomeRetry, retryAfter(resp.Header, clock())
	case code == http.StatusGone:
		s.outcome = outcomeGone
	case code >= 300 && code <= 399:
		s.outcome = outcomeRedirected
	default:
		s.outcome = outcomeRejected
	}
	return s
}

func withoutRedirects(client *http.Client) *http.Client {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

var errSecret = fmt.Errorf("must be %q followed by %d to %d bytes in base64", secretPrefix, minSecretBytes, maxSecretBytes)

// decodeSecret reads a symmetric secret as Standard Webhooks 1.0.0 writes it. Its errors do not repeat the secret.
func decodeSecret(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return nil, errSecret
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return nil, errSecret
	}
	return key, nil
}

// sign sets the three headers of Standard Webhooks 1.0.0: an HMAC-SHA256 over id, time and body.
func sign(h http.Header, key []byte, id string, now time.Time, body []byte) {
	seconds := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + seconds + "."))
	mac.Write(body)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", seconds)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
