// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/pitwall-io/pitwall/extension/optimizationextension/internal/metadata"
)

// NewFactory returns the factory of the optimization extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(
		metadata.Type,
		createDefaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return newExtension(set, cfg.(*Config))
		},
		metadata.ExtensionStability,
	)
}
