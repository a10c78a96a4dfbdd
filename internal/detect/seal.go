// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of Open.
var (
	ErrSealVersion = errors.New("snapshot was written by another version")
	ErrSealDamaged = errors.New("snapshot is damaged: its checksum does not match")
)

// sealMagic begins what Seal returns.
const sealMagic = "pws1"

const sealHeader = len(sealMagic) + 4 + sha256.Size

// Seal gives state the version of its form and a checksum, so that Open can refuse what it cannot trust.
func Seal(version uint32, state []byte) []byte {
	sum := sha256.Sum256(state)
	out := make([]byte, 0, sealHeader+len(state))
	out = append(out, sealMagic...)
	out = binary.BigEndian.AppendUint32(out, version)
	out = append(out, sum[:]...)
	return append(out, state...)
}

// Open returns the state that Seal was given with the same version.
func Open(version uint32, data []byte) ([]byte, error) {
	if len(data) < sealHeader || string(data[:len(sealMagic)]) != sealMagic {
		return nil, ErrSealDamaged
	}
	if got := binary.BigEndian.Uint32(data[len(sealMagic):]); got != version {
		return nil, fmt.Errorf("%w: %d, this one reads %d", ErrSealVersion, got, version)
	}
	state := data[sealHeader:]
	if sum := sha256.Sum256(state); string(sum[:]) != string(data[len(sealMagic)+4:sealHeader]) {
		return nil, ErrSealDamaged
	}
	return state, nil
}

// SealJSON is Seal of a value as JSON.
func SealJSON(version uint32, value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode what is to be sealed: %w", err)
	}
	return Seal(version, data), nil
}

// OpenJSON returns the value that SealJSON was given with the same version.
func OpenJSON[T any](version uint32, sealed []byte) (value T, err error) {
	data, err := Open(version, sealed)
	if err != nil {
		return value, err
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return value, fmt.Errorf("decode what was sealed: %w", err)
	}
	return value, nil
}
