// SPDX-License-Identifier: Apache-2.0

// Package change understands what deployment tools, flag services and people say about changes: CDEvents, CloudEvents, GitHub webhooks,
// Flagger, Argo CD, Argo Rollouts and a plain JSON form. It checks what it is told, names why it refuses it, and remembers what it was
// told already.
package change

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what was changed; it is the event name of the log record.
type Kind string

// The kinds of change.
const (
	Deployment    Kind = "change.deployment"
	FeatureFlag   Kind = "change.feature_flag"
	Configuration Kind = "change.configuration"
)

// State says how far a change has come.
type State string

// The states of a change.
const (
	Planned   State = "planned"
	Started   State = "started"
	Succeeded State = "succeeded"
	Failed    State = "failed"
)

// Change is one change as it was told.
type Change struct {
	Kind Kind
	// ID is the id the sender gave the event, or one made from its content.
	ID string
	// Tool is the source that told it: cdevents, github, flagger …
	Tool string
	// Action is what was done: deploy, upgrade, rollback, remove, release, modify, create, delete, flip.
	Action string
	State  State
	// Time is when it happened, zero when the sender did not say.
	Time        time.Time
	Service     string
	Namespace   string
	Version     string
	Environment string
	Message     string
	// SignalID names the optimization signal that this change carries out, if any.
	SignalID string
	// Attributes are further attributes by their names in the semantic conventions.
	Attributes map[string]string
	// Key and Value make the change idempotent: a change whose key holds the same value already is a duplicate.
	Key, Value string
}

// Message is one event out of a request: a change, or the reason why it is none.
type Message struct {
	Change Change
	// Ignored is the reason why an event that is right is not a change; empty for a change.
	Ignored string
}

// Reasons of refusal; they are the values of a metric's attribute.
const (
	ReasonMalformed   = "malformed"
	ReasonSchema      = "schema"
	ReasonVersion     = "unsupported_version"
	ReasonUnknownType = "unknown_type"
	ReasonMismatch    = "mismatch"
	ReasonMissing     = "missing_field"
	ReasonInvalid     = "invalid_field"
	ReasonTooMany     = "too_many_events"
	ReasonStale       = "stale"
	ReasonFuture      = "future"
	ReasonSignature   = "signature"
	ReasonNoSecret    = "no_secret"
)

// Reasons why a right event is not a change.
const (
	IgnoredNotChange  = "not_a_change"
	IgnoredPing       = "ping"
	IgnoredAction     = "other_action"
	IgnoredState      = "other_state"
	IgnoredWorkflow   = "not_a_deploy_workflow"
	IgnoredUnknown    = "unknown_event"
	IgnoredCustomType = "custom_type"
)

// Refused says why a request is not accepted. Its text names what is wrong and never holds a secret.
type Refused struct {
	Reason string
	Detail string
}

func (r *Refused) Error() string { return r.Reason + ": " + r.Detail }

func refuse(reason, format string, args ...any) error {
	return &Refused{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Limits of what is taken over.
const (
	maxText       = 1024
	maxMessage    = 4096
	maxAttributes = 32
	// MaxEvents is how many events one request may carry.
	MaxEvents = 1000
)

var errTrailing = errors.New("data after the JSON value")

// decode reads exactly one JSON value. Strict refuses fields that v does not have.
func decode(body []byte, v any, strict bool) error {
	if !utf8.Valid(body) {
		return refuse(ReasonMalformed, "the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if strict {
		dec.DisallowUnknownFields()
	}
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errTrailing
		}
	}
	if err == nil {
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) || strings.Contains(err.Error(), "unknown field") {
		return refuse(ReasonSchema, "%s", clip(err.Error(), maxText))
	}
	return refuse(ReasonMalformed, "%s", clip(err.Error(), maxText))
}

// clip cuts text to n bytes between runes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// digest is a short name of some content.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// field is a required text and its name in the request.
type field struct{ name, value string }

func required(fields ...field) error {
	for _, f := range fields {
		if strings.TrimSpace(f.value) == "" {
			return refuse(ReasonMissing, "%s must not be empty", f.name)
		}
	}
	return nil
}

func parseTime(name, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, refuse(ReasonInvalid, "%s is not an RFC 3339 time", name)
	}
	if t.Year() < 1971 || t.Year() > 2261 {
		return time.Time{}, refuse(ReasonInvalid, "%s is out of range", name)
	}
	return t.UTC(), nil
}

// finish bounds what came from outside and drops attributes without a value.
func (c *Change) finish() {
	for _, text := range []*string{&c.ID, &c.Action, &c.Service, &c.Namespace, &c.Version, &c.Environment, &c.SignalID} {
		*text = clip(*text, maxText)
	}
	c.Message = clip(c.Message, maxMessage)
	for name, value := range c.Attributes {
		if value == "" {
			delete(c.Attributes, name)
			continue
		}
		c.Attributes[name] = clip(value, maxText)
	}
	if c.Key == "" {
		c.Key = digest(c.Tool, c.ID)
	}
}

// CheckAge refuses a change that happened longer than maxAge ago or more than maxFuture from now; a maxAge of 0 accepts any past.
func (c *Change) CheckAge(now time.Time, maxAge, maxFuture time.Duration) error {
	switch {
	case c.Time.IsZero():
		return nil
	case maxAge > 0 && now.Sub(c.Time) > maxAge:
		return refuse(ReasonStale, "the change of %s is older than %s", c.Time.Format(time.RFC3339), maxAge)
	case c.Time.Sub(now) > maxFuture:
		return refuse(ReasonFuture, "the change of %s is more than %s ahead", c.Time.Format(time.RFC3339), maxFuture)
	}
	return nil
}

func accepted(c Change) []Message {
	c.finish()
	return []Message{{Change: c}}
}

func ignored(reason string) []Message { return []Message{{Ignored: reason}} }
