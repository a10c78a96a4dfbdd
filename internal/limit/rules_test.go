// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzMatch holds patterns against regular expressions.
func FuzzMatch(f *testing.F) {
	f.Add("http.*.count", "http.server.count")
	f.Add("a?c*", "abcd")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 64 || len(text) > 256 {
			return
		}
		for _, c := range pattern + text {
			if c > 0x7e || c < ' ' {
				return // patterns go byte by byte, expressions rune by rune
			}
		}
		quoted := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		if want := regexp.MustCompile("^" + quoted + "$").MatchString(text); Match(pattern, text) != want {
			t.Fatalf("%q %q: %v", pattern, text, !want)
		}
	})
}

// FuzzRules lets any rule meet any attributes: whatever the series become, their sum is what came in, and no rule makes more series
// than there were.
func FuzzRules(f *testing.F) {
	f.Add(byte(ActionTemplate), "id", "", 3, "/users/17/orders", "name", "x")
	f.Add(byte(ActionRename), "id", "name", 0, "a", "name", "b")
	f.Add(byte(ActionHash), "*", "", 2, "a", "b", OverflowValue)
	f.Fuzz(func(t *testing.T, action byte, pattern, to string, buckets int, value, other, constant string) {
		rule := Rule{Attributes: []string{pattern}, Action: Action(action) % (ActionFold + 1), To: to, Buckets: 1 + buckets&0xff}
		l := New(settings(func(s *Settings) {
			s.Rules = []Rule{rule}
			s.Limits.Attribute, s.Limits.Series = 2, 4
		}))
		l.Begin(1_700_000_000 * second)
		m := metric(t, l, "m")
		total, kept := int64(0), int64(0)
		groups := map[*Group]int64{}
		for i := range 40 {
			text := value
			if i%4 != 0 {
				text += strings.Repeat("7", i%9)
			}
			out := m.Number(point(1, l.now, "id", text, other, constant), KindDelta, Int(int64(i)), true, false)
			total += int64(i)
			switch out.Verdict {
			case Merged:
				groups[out.Group] += int64(i)
			case Pass:
				kept += int64(i)
			default:
				t.Fatalf("%+v", out)
			}
		}
		for g, want := range groups {
			got := l.Emit(m, g).Number.Int64()
			if got != want {
				t.Fatalf("a group of %d sends %d", want, got)
			}
			kept += got
		}
		if kept != total {
			t.Fatalf("%d became %d", total, kept)
		}
		l.Flush()
		l.Delivered()
		if n := l.Stats().Series; n > 4 {
			t.Fatalf("%d series", n)
		}
	})
}
