// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/pitwall-io/pitwall/internal/slo"
)

// Book is what other components need of the extension.
type Book interface {
	component.Component
	// Engine is the live book. It is there from the time the extension was made, and restored once it was started.
	Engine() *slo.Engine
	// Commit counts a tally; when it returns, the tally is in the book and, as far as the configuration promises, in storage.
	Commit(ctx context.Context, t *slo.Tally, now time.Time)
	// Sync writes what waits to be journalled.
	Sync(ctx context.Context)
	slo.StatusReader
}

var (
	errNoBook    = errors.New("no slo extension is running; add one under extensions and service::extensions")
	errManyBooks = errors.New("several slo extensions are running; name one with the key slo")
)

// Find returns the slo extension named id, or the only one there is when id is nil.
func Find(host component.Host, id *component.ID) (Book, error) {
	if id != nil {
		found, ok := host.GetExtensions()[*id]
		if !ok {
			return nil, fmt.Errorf("slo: extension %q is not running", id)
		}
		book, ok := found.(Book)
		if !ok {
			return nil, fmt.Errorf("slo: extension %q is not an slo extension", id)
		}
		return book, nil
	}
	var only Book
	for _, found := range host.GetExtensions() {
		book, ok := found.(Book)
		if !ok {
			continue
		}
		if only != nil {
			return nil, errManyBooks
		}
		only = book
	}
	if only == nil {
		return nil, errNoBook
	}
	return only, nil
}
