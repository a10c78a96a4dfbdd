// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/docs"
	"github.com/pitwall-io/pitwall/internal/detect/cardinality"
	"github.com/pitwall-io/pitwall/internal/signal"
)

var fence = regexp.MustCompile("(?s)```json envelope\n(.*?)```")

func TestExampleEnvelopesConformToTheSchema(t *testing.T) {
	page, err := os.ReadFile("signals.md")
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.SignalSchema))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource(signal.SchemaURI, doc))
	schema, err := c.Compile(signal.SchemaURI)
	require.NoError(t, err)

	kinds := map[string]bool{}
	for _, block := range fence.FindAllStringSubmatch(string(page), -1) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(block[1]))
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v))
		e, err := signal.Decode([]byte(block[1]))
		require.NoError(t, err)
		_, err = signal.Verify([]signal.Envelope{e})
		require.NoError(t, err, "the example's hash is its own")
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, []byte(block[1])))
		canonical, err := e.MarshalCanonical()
		require.NoError(t, err)
		assert.Equal(t, string(canonical), compact.String(), "fields are in their order")
		kinds[e.Kind] = true
		assert.Contains(t, string(page), "\n## "+e.Kind+"\n")
		assert.Contains(t, string(page), "| `"+e.Kind+"` |")
	}
	assert.Equal(t, map[string]bool{
		signal.KindSLOBurn: true, signal.KindCanaryVerdict: true, signal.KindChangeRegression: true, signal.KindFlagImpact: true, signal.KindCoverage: true, cardinality.Kind: true, signal.KindBlind: true,
		signal.KindControllerConflict: true, signal.KindPolicyDecision: true, signal.KindOutcome: true,
	}, kinds, "one example for each kind that exists")
}
