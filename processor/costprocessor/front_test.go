// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// resembling makes resources that are hard to tell apart: their texts have the same lengths and the same ends, so their hashes collide.
func resembling(rng *rand.Rand) pcommon.Resource {
	r := pcommon.NewResource()
	attrs := r.Attributes()
	for i := range 1 + rng.IntN(3) {
		name := []string{"a.name", "b.name"}[rng.IntN(2)] + string(rune('0'+i))
		switch rng.IntN(6) {
		case 0:
			attrs.PutInt(name, int64(rng.IntN(2)))
		case 1:
			attrs.PutBool(name, rng.IntN(2) == 0)
		case 2:
			attrs.PutDouble(name, float64(rng.IntN(2)))
		case 3:
			attrs.PutEmpty(name)
		default:
			attrs.PutStr(name, string(rune('a'+rng.IntN(3)))+"-the-same-ending")
		}
	}
	return r
}

func TestTheFrontAnswersOnlyWhatWasPutForTheVerySameAttributes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := newFront(4) // so small that entries push each other out
	put := map[string]*verdict{}
	hits := 0
	for range 50_000 {
		attrs := resembling(rng).Attributes()
		key := string(appendKey(nil, attrs))
		mark := fingerprintOf(attrs)
		if v := f.get(mark); v != nil {
			hits++
			require.Same(t, put[key], v)
			continue
		}
		if put[key] == nil {
			put[key] = &verdict{}
		}
		f.put(mark, put[key])
		require.Same(t, put[key], f.get(mark), "what was put last is at hand")
	}
	assert.Greater(t, len(put), 100)
	assert.Greater(t, hits, 500)
}

// Texts that share parts, swap parts, or shift bytes from a name to its value must not be taken for each other.
func TestFingerprintsTellApartWhatLooksAlike(t *testing.T) {
	seen := map[fingerprint]string{}
	take := func(pairs ...string) {
		m := pcommon.NewMap()
		for i := 0; i+1 < len(pairs); i += 2 {
			m.PutEmpty(pairs[i]).SetStr(pairs[i+1])
		}
		mark := fingerprintOf(m)
		key := strings.Join(pairs, "|")
		if other, ok := seen[mark]; ok {
			require.Equal(t, other, key)
		}
		seen[mark] = key
	}
	text := strings.Repeat("abcdefgh", 9)
	for i := range len(text) {
		take(text[:i], text[i:])
		take("name", text[:i])
		take("name", text[i:])
		take("name", text[:i]+"X"+text[i:])
		take("name", text[:i]+"\x00")
		take("name", strings.Repeat("\x00", i))
		take(text[:i], "a", text[i:], "b")
		take(text[i:], "a", text[:i], "b")
	}
	for i := range 20_000 {
		take("service.name", fmt.Sprintf("service-%d-with-the-same-end", i), "host.name", "node")
		take("service.name", strconv.Itoa(i), "host.name", "node")
	}
	assert.Greater(t, len(seen), 40_000)
}

func TestTheFrontHoldsAboutWhatTheCacheHolds(t *testing.T) {
	f := newFront(10_000)
	marks := make([]fingerprint, 10_000)
	for i := range marks {
		m := pcommon.NewMap()
		m.PutStr("service.name", fmt.Sprintf("service-%d", i%100))
		m.PutStr("k8s.pod.name", fmt.Sprintf("service-%d-5d9c8f7b64-%05x", i%100, i*7919))
		marks[i] = fingerprintOf(m)
		f.put(marks[i], &verdict{})
	}
	held := 0
	for _, mark := range marks {
		if f.get(mark) != nil {
			held++
		}
	}
	assert.Greater(t, held, 8500, "of as many as the cache may hold, most stand at the front at once")

	list, other := pcommon.NewMap(), pcommon.NewMap()
	list.PutEmptySlice("process.command_args").AppendEmpty().SetStr("x")
	other.PutEmptySlice("process.command_args").AppendEmpty().SetStr("y")
	assert.NotEqual(t, fingerprintOf(list), fingerprintOf(other))
}

func TestTheFrontKeepsItsWordWhileMoreThanOneWrite(t *testing.T) {
	f := newFront(2)
	verdicts := map[string]*verdict{}
	var resources []pcommon.Resource
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		r := resembling(rng)
		resources = append(resources, r)
		if key := string(appendKey(nil, r.Attributes())); verdicts[key] == nil {
			verdicts[key] = &verdict{}
		}
	}
	var wait sync.WaitGroup
	wrong := make([]int, 4)
	for worker := range wrong {
		wait.Go(func() {
			for i := range 5000 {
				attrs := resources[(i*7+worker)%len(resources)].Attributes()
				want := verdicts[string(appendKey(nil, attrs))]
				mark := fingerprintOf(attrs)
				if v := f.get(mark); v == nil {
					f.put(mark, want)
				} else if v != want {
					wrong[worker]++
				}
			}
		})
	}
	wait.Wait()
	assert.Equal(t, make([]int, 4), wrong)
}
