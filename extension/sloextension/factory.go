// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/pitwall-io/pitwall/extension/sloextension/internal/metadata"
	"github.com/pitwall-io/pitwall/internal/slo"
)

// NewFactory makes the factory of the slo extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func createDefaultConfig() component.Config {
	defaults := slo.DefaultSettings()
	return &Config{
		SnapshotInterval: 5 * time.Second,
		Journal:          journalAlways,
		ReloadInterval:   30 * time.Second,
		FalseAlerts:      defaults.FalseAlerts,
		MinBadEvents:     defaults.MinBadEvents,
		MaxLateness:      defaults.MaxLateness,
		MaxFuture:        defaults.MaxFuture,
		Contributors:     defaults.Contributors,
	}
}

func create(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
	return newExtension(cfg.(*Config), set)
}
