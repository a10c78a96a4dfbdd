// SPDX-License-Identifier: Apache-2.0

// Package recording takes recorded OTLP requests out of a file, one record at a time and in constant memory. It knows compression and
// framing, and nothing of what is inside a record.
//
// What a file is made of is seen from its first bytes, so there is nothing to configure:
//
//	1f 8b                 gzip, one or many members
//	28 b5 2f fd           zstd, one or many frames
//	then, inside:
//	00 to 08              records behind a 4-byte big-endian length (the longest record is 128 MiB, so the first byte of a length is at most 08)
//	anything else         one JSON object a line
//
// A record behind a length may be JSON or protobuf and may itself be one zstd frame: the Collector's file exporter writes all of these.
package recording
