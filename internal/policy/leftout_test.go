// SPDX-License-Identifier: Apache-2.0

//go:build pitwall_nopolicies

package policy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/signal"
)

func TestABuildWithoutPoliciesRefusesThem(t *testing.T) {
	_, err := Compile([]Rule{{Name: "r", When: "true", Decision: signal.ResultDeny}}, signal.ResultAllow)
	require.ErrorIs(t, err, errRule)
	require.ErrorContains(t, err, "built without policies")

	none, err := Compile(nil, signal.ResultAllow)
	require.NoError(t, err)
	assert.True(t, none.Empty())
	_, err = Compile(nil, "maybe")
	require.ErrorContains(t, err, "the default must be")
}
