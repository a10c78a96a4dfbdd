// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	for _, state := range [][]byte{{}, []byte("x"), []byte(`{"a":1}`)} {
		got, err := Open(3, Seal(3, state))
		require.NoError(t, err)
		assert.Equal(t, state, got)
	}
}

func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	sealed := Seal(1, []byte("some state"))
	for i := range len(sealed) * 8 {
		damaged := append([]byte{}, sealed...)
		damaged[i/8] ^= 1 << (i % 8)
		_, err := Open(1, damaged)
		require.Error(t, err, "bit %d", i)
	}
	for n := range sealed {
		_, err := Open(1, sealed[:n])
		require.Error(t, err, "cut to %d bytes", n)
	}
	_, err := Open(2, sealed)
	require.ErrorIs(t, err, ErrSealVersion)
}
