// SPDX-License-Identifier: Apache-2.0

// Package demo runs the whole chain on one machine: a receiver for signals, the collector as a process, and the shop that feeds it.
package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"time"
)

// structuredJSON is the media type of a CloudEvent in structured mode.
const structuredJSON = "application/cloudevents+json"

// event is a CloudEvent 1.0 with its JSON data.
type event struct {
	ID, Source, Type, Subject string
	Data                      json.RawMessage
}

// parseEvent reads a CloudEvent in structured mode and refuses what the specification, version 1.0.2, does not allow.
func parseEvent(contentType string, body []byte) (event, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != structuredJSON {
		return event{}, fmt.Errorf("content-type must be %s (got %q)", structuredJSON, contentType)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return event{}, fmt.Errorf("the body must be one JSON object: %w", err)
	}
	if members == nil {
		return event{}, errors.New("the body must be one JSON object (got null)")
	}
	attributes, err := attributesOf(members)
	if err != nil {
		return event{}, err
	}
	if err := checkAttributes(attributes); err != nil {
		return event{}, err
	}
	data, ok := members["data"]
	if !ok {
		return event{}, errors.New("data must be there")
	}
	return event{attributes["id"], attributes["source"], attributes["type"], attributes["subject"], data}, nil
}

// attributesOf returns the context attributes as text; null means absent.
func attributesOf(members map[string]json.RawMessage) (map[string]string, error) {
	out := map[string]string{}
	for name, raw := range members {
		if name == "data" {
			continue
		}
		if name == "data_base64" {
			return nil, errors.New("data must be JSON, not data_base64")
		}
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return nil, fmt.Errorf("attribute %q must be of lower-case letters and digits", name)
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		switch value := value.(type) {
		case nil:
		case string:
			out[name] = value
		case bool, float64:
			out[name] = string(raw)
		default:
			return nil, fmt.Errorf("attribute %s must be a text, a number or a truth value (got %s)", name, raw)
		}
	}
	return out, nil
}

func checkAttributes(attributes map[string]string) error {
	for _, name := range []string{"id", "source", "specversion", "type"} {
		if attributes[name] == "" {
			return fmt.Errorf("attribute %s must not be empty", name)
		}
	}
	if v := attributes["specversion"]; v != "1.0" {
		return fmt.Errorf("attribute specversion must be 1.0 (got %q)", v)
	}
	if _, err := url.Parse(attributes["source"]); err != nil {
		return fmt.Errorf("attribute source must be a URI reference (got %q)", attributes["source"])
	}
	if v, ok := attributes["time"]; ok {
		if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
			return fmt.Errorf("attribute time must be as in RFC 3339 (got %q)", v)
		}
	}
	if v, ok := attributes["dataschema"]; ok {
		if u, err := url.Parse(v); err != nil || !u.IsAbs() {
			return fmt.Errorf("attribute dataschema must be a URI (got %q)", v)
		}
	}
	if v, ok := attributes["datacontenttype"]; ok {
		if media, _, err := mime.ParseMediaType(v); err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
			return fmt.Errorf("attribute datacontenttype must be JSON (got %q)", v)
		}
	}
	if v, ok := attributes["subject"]; ok && v == "" {
		return errors.New("attribute subject must not be empty")
	}
	return nil
}
