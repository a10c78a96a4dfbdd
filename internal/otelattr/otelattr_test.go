// SPDX-License-Identifier: Apache-2.0

package otelattr

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAnAliasIsNeverACurrentName(t *testing.T) {
	for current, older := range aliases {
		assert.NotEmpty(t, older, current)
		for _, name := range older {
			assert.NotContains(t, aliases, name, "alias of %s", current)
			assert.Len(t, slices.Collect(func(yield func(string) bool) {
				for _, o := range older {
					if o == name && !yield(o) {
						return
					}
				}
			}), 1)
		}
	}
}

func TestAliasesOfNamesThatNeverChanged(t *testing.T) {
	assert.Nil(t, Aliases(ServiceName))
	assert.Equal(t, []string{"http.status_code"}, Aliases(HTTPResponseStatusCode))
}
