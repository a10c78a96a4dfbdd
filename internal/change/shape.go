// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// shape says what a value of an event may hold. It knows as much of JSON Schema as the specifications of events use.
type shape struct {
	kind kind
	// members are those an object may have; open lets it have others, too. Required members must be there.
	members  map[string]*shape
	required []string
	open     bool
	// byMember are the shapes of an object by the value of one of its members.
	byMember string
	shapes   map[string]*shape
	// items is the shape of what an array holds.
	items *shape
	// words are the texts allowed; any if empty. A blank text is allowed only if blank is set.
	words []string
	blank bool
}

// kind is what a value is.
type kind int

const (
	anyValue kind = iota
	object
	array
	text
	uri          // an absolute address
	uriReference // an address, or one relative to the sender
	timestamp    // RFC 3339
	objectOrBase64
)

// fits returns why a decoded JSON value is not of a shape; at is where the value stands.
func (s *shape) fits(at string, value any) error {
	switch s.kind {
	case anyValue:
		return nil
	case object:
		return s.fitsObject(at, value)
	case array:
		list, ok := value.([]any)
		if !ok {
			return refuse(ReasonSchema, "%s must be an array", at)
		}
		for _, item := range list {
			if err := s.items.fits(at, item); err != nil {
				return err
			}
		}
		return nil
	case objectOrBase64:
		if _, ok := value.(map[string]any); ok {
			return nil
		}
		if encoded, ok := value.(string); ok {
			if _, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				return nil
			}
		}
		return refuse(ReasonSchema, "%s must be an object or text in base64", at)
	}
	return s.fitsText(at, value)
}

func (s *shape) fitsObject(at string, value any) error {
	members, ok := value.(map[string]any)
	if !ok {
		return refuse(ReasonSchema, "%s must be an object", at)
	}
	if s.byMember != "" {
		word, _ := members[s.byMember].(string)
		chosen, ok := s.shapes[word]
		if !ok {
			return refuse(ReasonSchema, "%s: %s %q is none of those there are", at, s.byMember, clip(word, 64))
		}
		return chosen.fitsObject(at, value)
	}
	for _, name := range s.required {
		if _, ok := members[name]; !ok {
			return refuse(ReasonMissing, "%s is required", join(at, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		allowed, ok := s.members[name]
		switch {
		case ok:
			if err := allowed.fits(join(at, name), members[name]); err != nil {
				return err
			}
		case !s.open:
			return refuse(ReasonSchema, "unknown field %s", join(at, clip(name, 64)))
		}
	}
	return nil
}

func (s *shape) fitsText(at string, value any) error {
	got, ok := value.(string)
	if !ok {
		return refuse(ReasonSchema, "%s must be text", at)
	}
	if got == "" && !s.blank {
		return refuse(ReasonMissing, "%s must not be empty", at)
	}
	if len(s.words) > 0 && !slices.Contains(s.words, got) {
		return refuse(ReasonSchema, "%s: %q is not one of %s", at, clip(got, 64), strings.Join(s.words, ", "))
	}
	switch s.kind {
	case uri:
		if u, err := url.Parse(got); err != nil || !u.IsAbs() {
			return refuse(ReasonInvalid, "%s is not an absolute URI", at)
		}
	case uriReference:
		if _, err := url.Parse(got); err != nil || strings.ContainsRune(got, '\\') {
			return refuse(ReasonInvalid, "%s is not a URI reference", at)
		}
	case timestamp:
		if _, err := time.Parse(time.RFC3339Nano, got); err != nil {
			return refuse(ReasonInvalid, "%s is not an RFC 3339 time", at)
		}
	}
	return nil
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
