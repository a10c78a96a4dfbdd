// SPDX-License-Identifier: Apache-2.0

package sampling

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	p, err := Compile([]Policy{{Name: "all", Kind: KindAlways}})
	require.NoError(t, err)
	e, err := New(Settings{Tick: time.Second, DecisionWait: time.Second, MaxTraces: 10, MemoryLimit: 1 << 20, Remembered: 100, KeptDetails: 10}, p, time.Unix(0, 0))
	require.NoError(t, err)
	_ = e
}
