// SPDX-License-Identifier: Apache-2.0

package truth

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryFileIsWholeAndKnowsNoKeyOfItsOwn(t *testing.T) {
	require.Len(t, Faults(), 8)
	for _, fault := range Faults() {
		raw, err := files.ReadFile(fault + ".json")
		require.NoError(t, err)
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		var want Truth
		require.NoError(t, strict.Decode(&want), fault)
		got, err := Of(fault)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, fault, got.Fault)
		assert.NotEmpty(t, got.Summary)
		assert.NotEmpty(t, got.Service)
		for _, claim := range append(got.Alternatives, got.MustNot...) {
			assert.NotEmpty(t, claim.Why)
			if claim.Kind == got.Kind {
				assert.NotEmpty(t, claim.Services, "%s cannot be both right and wrong for any service", claim.Kind)
			}
		}
	}
}

func TestNothingIsKnownAboutOtherThings(t *testing.T) {
	_, err := Of("earthquake")
	require.ErrorContains(t, err, `no truth about fault "earthquake"`)
}
