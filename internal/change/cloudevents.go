// SPDX-License-Identifier: Apache-2.0

package change

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// The content types of CloudEvents 1.0 over HTTP.
const (
	structuredType = "application/cloudevents+json"
	batchType      = "application/cloudevents-batch+json"
)

type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            string          `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
	DataBase64      *string         `json:"data_base64"`
}

// CloudEvents reads a request of CloudEvents 1.0 in binary, structured or batch mode. Its events are CDEvents, or have one of the kinds of
// change as their type and the plain form as their data; others are ignored.
func CloudEvents(header http.Header, body []byte) ([]Message, error) {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return nil, refuse(ReasonInvalid, "Content-Type cannot be read")
	}
	switch {
	case media == structuredType:
		var event cloudEvent
		if err := decode(body, &event, false); err != nil {
			return nil, err
		}
		return event.read()
	case media == batchType:
		return cloudEventBatch(body)
	case strings.HasPrefix(media, "application/cloudevents"):
		return nil, refuse(ReasonInvalid, "Content-Type %q: only the JSON format is understood", clip(media, 64))
	}
	event := cloudEvent{Data: body, DataContentType: media}
	for name, into := range map[string]*string{
		"ce-specversion": &event.SpecVersion, "ce-id": &event.ID, "ce-source": &event.Source, "ce-type": &event.Type, "ce-subject": &event.Subject, "ce-time": &event.Time,
	} {
		value, err := url.PathUnescape(header.Get(name))
		if err != nil {
			return nil, refuse(ReasonInvalid, "header %s is not percent-encoded", name)
		}
		*into = value
	}
	return event.read()
}

// IsCloudEvent says whether a request is one of CloudEvents.
func IsCloudEvent(header http.Header) bool {
	return header.Get("ce-specversion") != "" || strings.HasPrefix(strings.ToLower(header.Get("Content-Type")), "application/cloudevents")
}

func cloudEventBatch(body []byte) ([]Message, error) {
	var events []json.RawMessage
	if err := decode(body, &events, false); err != nil {
		return nil, err
	}
	if events == nil {
		return nil, refuse(ReasonSchema, "a batch is an array")
	}
	if len(events) > MaxEvents {
		return nil, refuse(ReasonTooMany, "%d events in one request, at most %d", len(events), MaxEvents)
	}
	var messages []Message
	for i, raw := range events {
		var event cloudEvent
		if err := decode(raw, &event, false); err != nil {
			return nil, in(i, err)
		}
		got, err := event.read()
		if err != nil {
			return nil, in(i, err)
		}
		messages = append(messages, got...)
	}
	return messages, nil
}

func in(i int, err error) error {
	if r, ok := err.(*Refused); ok { //nolint:errorlint // made in this package, never wrapped
		return refuse(r.Reason, "event %d: %s", i, r.Detail)
	}
	return err
}

func (e *cloudEvent) read() ([]Message, error) {
	if err := required(field{"specversion", e.SpecVersion}, field{"id", e.ID}, field{"source", e.Source}, field{"type", e.Type}); err != nil {
		return nil, err
	}
	if e.SpecVersion != "1.0" {
		return nil, refuse(ReasonVersion, "CloudEvents %q is not 1.0", clip(e.SpecVersion, 32))
	}
	if _, err := url.Parse(e.Source); err != nil {
		return nil, refuse(ReasonInvalid, "source is not a URI reference")
	}
	data, err := e.content()
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(e.Type, cdPrefix), strings.HasPrefix(e.Type, cdCustomPrefix):
		return e.cdEvent(data)
	case e.Type == string(Deployment), e.Type == string(FeatureFlag), e.Type == string(Configuration):
		return e.plain(data)
	}
	if e.Time != "" {
		if _, err := parseTime("time", e.Time); err != nil {
			return nil, err
		}
	}
	return ignored(IgnoredNotChange), nil
}

func (e *cloudEvent) content() ([]byte, error) {
	if e.DataBase64 == nil {
		return e.Data, nil
	}
	if len(e.Data) > 0 {
		return nil, refuse(ReasonSchema, "data and data_base64 exclude each other")
	}
	data, err := base64.StdEncoding.DecodeString(*e.DataBase64)
	if err != nil {
		return nil, refuse(ReasonInvalid, "data_base64 is not base64")
	}
	return data, nil
}

func (e *cloudEvent) cdEvent(data []byte) ([]Message, error) {
	var inner struct {
		Context struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		} `json:"context"`
	}
	if err := decode(data, &inner, false); err != nil {
		return nil, err
	}
	if inner.Context.ID != e.ID || inner.Context.Type != e.Type {
		return nil, refuse(ReasonMismatch, "id and type of the CloudEvent and of the CDEvent in it differ")
	}
	return CDEvent(data)
}

func (e *cloudEvent) plain(data []byte) ([]Message, error) {
	messages, err := plain(bytes.TrimSpace(data), Kind(e.Type))
	if err != nil {
		return nil, err
	}
	c := &messages[0].Change
	c.ID, c.Tool, c.Key = clip(e.ID, maxText), "cloudevents", digest("cloudevents", e.Source, e.ID)
	c.Attributes["change.origin"] = clip(e.Source, maxText)
	if c.Service == "" {
		c.Service = clip(e.Subject, maxText)
	}
	if c.Time.IsZero() && e.Time != "" {
		if c.Time, err = parseTime("time", e.Time); err != nil {
			return nil, err
		}
	}
	return messages, nil
}
