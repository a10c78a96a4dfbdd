// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/docs"
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
	assert.Equal(t, kindsInCode(t), kinds, "one example for each kind that exists")
}

// kindsInCode returns the values of the constants named Kind… of the envelope's package and of the detectors: what can be said.
func kindsInCode(t *testing.T) map[string]bool {
	t.Helper()
	folders, err := filepath.Glob("../internal/detect/*")
	require.NoError(t, err)
	kinds := map[string]bool{}
	for _, folder := range append(folders, "../internal/signal") {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				for i := 0; ok && i < len(spec.Values); i++ {
					literal, isLiteral := spec.Values[i].(*ast.BasicLit)
					if isLiteral && strings.HasPrefix(spec.Names[i].Name, "Kind") && literal.Kind == token.STRING {
						value, err := strconv.Unquote(literal.Value)
						require.NoError(t, err)
						kinds[value] = true
					}
				}
				return true
			})
		}
	}
	require.True(t, kinds[signal.KindSLOBurn], "the constants are found")
	return kinds
}
