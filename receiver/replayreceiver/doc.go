// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package replayreceiver plays recorded OTLP back into pipelines, in event order over all files and signals, at any speed.
//
// The way of a request: internal/recording takes it out of its file, a decoder turns it into pdata and shifts it (codec.go, readahead.go),
// the player merges the files, waits until it is due as internal/timeline says, and hands it over (player.go).
package replayreceiver
