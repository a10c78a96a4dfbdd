// SPDX-License-Identifier: Apache-2.0

package limit

import "strings"

// The placeholders of Template.
const (
	placeholderNumber = "{num}"
	placeholderUUID   = "{uuid}"
	placeholderHex    = "{hex}"
	placeholderID     = "{id}"
	placeholderQuery  = "?{query}"
)

const (
	uuidLength    = 36
	hexMinimum    = 8  // shorter runs of hexadecimal digits are words as often as identifiers
	opaqueMinimum = 16 // a run of letters and digits from here on is an identifier, not a word
)

// Template replaces the parts of a value that tell one request from another by placeholders: a query string, UUIDs, hexadecimal
// and decimal numbers, and long runs of mixed letters and digits. What stands between them stays, so /users/42/orders and
// /users/43/orders become one /users/{num}/orders. A value without such parts comes back as it is, without an allocation.
func Template(value string) string {
	text := value
	query := strings.IndexByte(text, '?')
	if query >= 0 && strings.HasPrefix(text, "/") || strings.Contains(text, "://") && query >= 0 {
		text = text[:query]
	} else {
		query = -1
	}
	var out strings.Builder
	copied := 0
	replace := func(from, to int, by string) {
		out.WriteString(text[copied:from])
		out.WriteString(by)
		copied = to
	}
	for i := 0; i < len(text); {
		if isUUID(text[i:]) && (i == 0 || !isWord(text[i-1])) {
			replace(i, i+uuidLength, placeholderUUID)
			i += uuidLength
			continue
		}
		if !isWord(text[i]) {
			i++
			continue
		}
		end := i
		for end < len(text) && isWord(text[end]) {
			end++
		}
		if by := placeholderOf(text[i:end]); by != "" {
			replace(i, end, by)
		}
		i = end
	}
	if copied == 0 && query < 0 {
		return value
	}
	out.WriteString(text[copied:])
	if query >= 0 {
		out.WriteString(placeholderQuery)
	}
	return out.String()
}

// placeholderOf classifies a run of letters and digits; an empty result means that it is a word.
func placeholderOf(run string) string {
	digits, letters, hexLetters := 0, 0, 0
	for i := range len(run) {
		switch c := run[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			letters++
			hexLetters++
		default:
			letters++
		}
	}
	switch {
	case digits == 0:
		return ""
	case letters == 0:
		return placeholderNumber
	case len(run) > 2 && run[0] == '0' && (run[1] == 'x' || run[1] == 'X') && hexLetters == letters-1:
		return placeholderHex
	case letters == hexLetters && len(run) >= hexMinimum:
		return placeholderHex
	case len(run) >= opaqueMinimum:
		return placeholderID
	}
	return ""
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isUUID(s string) bool {
	if len(s) < uuidLength || (len(s) > uuidLength && isWord(s[uuidLength])) {
		return false
	}
	for i := range uuidLength {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return true
}
