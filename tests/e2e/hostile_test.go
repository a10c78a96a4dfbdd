// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// pdata decodes nested attribute values by recursion, so that a body of some ten megabytes, all nesting, ends the process. The
// configurations we ship keep bodies below that.
func TestDeeplyNestedBodiesDoNotEndTheProcess(t *testing.T) {
	at := newEndpoints(t)
	collector := harness.Start(t, harness.Options{
		Binary:    harness.Binary(t, "pitwall-sidecar"),
		Configs:   []string{config(t, "demo.yaml")},
		Env:       append(at.env, "PITWALL_SIGNALS_ENDPOINT=http://"+harness.Address(t)+"/nobody-listens"),
		HealthURL: at.healthURL(),
	})
	for _, megabytes := range []int{1, 4, 16} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at.otlpHTTP+"/v1/traces", bytes.NewReader(nested(megabytes<<20)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-protobuf")
		response, err := http.DefaultClient.Do(request)
		if err == nil { // a server may hang up on a body it will not read
			response.Body.Close()
		}
		require.True(t, collector.Running(), "%d MiB of nesting ended the process", megabytes)
	}
	exit, err := collector.Stop()
	require.NoError(t, err)
	assert.Zero(t, exit.Code)
}

// nested is a trace request of about size bytes: one span with one attribute, an array in an array in an array. The lengths come
// before what they measure, so it is written from the inside out.
func nested(size int) []byte {
	const (
		arrayValues      = 0x0a // ArrayValue.values
		anyValueArray    = 0x2a // AnyValue.array_value
		keyValueValue    = 0x12
		spanAttributes   = 0x4a
		scopeSpansSpans  = 0x12
		resourceScope    = 0x12
		requestResources = 0x0a
	)
	var reversed []byte
	wrap := func(tag byte) {
		header := binary.AppendUvarint([]byte{tag}, uint64(len(reversed)))
		slices.Reverse(header)
		reversed = append(reversed, header...)
	}
	for len(reversed) < size-100 {
		wrap(arrayValues)
		wrap(anyValueArray)
	}
	wrap(keyValueValue)
	reversed = append(reversed, 'k', 1, 0x0a) // the key
	for _, tag := range []byte{spanAttributes, scopeSpansSpans, resourceScope, requestResources} {
		wrap(tag)
	}
	slices.Reverse(reversed)
	return reversed
}
