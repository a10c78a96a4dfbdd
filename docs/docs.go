// SPDX-License-Identifier: Apache-2.0

// Package docs embeds the published documents that the binary itself serves, so that there is one copy of each.
package docs

import _ "embed"

// SignalSchema is the JSON Schema (draft 2020-12) of an optimization signal's envelope.
//
//go:embed signal.schema.json
var SignalSchema []byte
