// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package optimizationexporter sends optimization signals to those who act on them: CloudEvents webhooks, Alertmanager and a file.
package optimizationexporter
