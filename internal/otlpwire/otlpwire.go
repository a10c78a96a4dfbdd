// SPDX-License-Identifier: Apache-2.0

// Package otlpwire has the numbers that traces in OTLP are encoded with, for those who read or write them without pdata.
package otlpwire

// The wire types of protobuf.
const (
	Varint  = 0
	Fixed64 = 1
	Bytes   = 2
	Fixed32 = 5
)

// Field numbers of the messages of opentelemetry/proto/trace/v1/trace.proto.
const (
	TracesResourceSpans = 1

	ResourceSpansResource  = 1
	ResourceSpansScope     = 2
	ResourceSpansSchemaURL = 3

	ScopeSpansScope     = 1
	ScopeSpansSpan      = 2
	ScopeSpansSchemaURL = 3

	SpanTraceID           = 1
	SpanID                = 2
	SpanTraceState        = 3
	SpanParentID          = 4
	SpanName              = 5
	SpanKind              = 6
	SpanStart             = 7
	SpanEnd               = 8
	SpanAttributes        = 9
	SpanDroppedAttributes = 10
	SpanEvents            = 11
	SpanDroppedEvents     = 12
	SpanLinks             = 13
	SpanDroppedLinks      = 14
	SpanStatus            = 15
	SpanFlags             = 16

	EventTime              = 1
	EventName              = 2
	EventAttributes        = 3
	EventDroppedAttributes = 4

	LinkTraceID           = 1
	LinkSpanID            = 2
	LinkTraceState        = 3
	LinkAttributes        = 4
	LinkDroppedAttributes = 5
	LinkFlags             = 6

	StatusMessage = 2
	StatusCode    = 3
)

// Field numbers of the messages of resource/v1/resource.proto and common/v1/common.proto.
const (
	ResourceAttributes        = 1
	ResourceDroppedAttributes = 2

	ScopeName              = 1
	ScopeVersion           = 2
	ScopeAttributes        = 3
	ScopeDroppedAttributes = 4

	KeyValueKey   = 1
	KeyValueValue = 2

	AnyString = 1
	AnyBool   = 2
	AnyInt    = 3
	AnyDouble = 4
	AnyArray  = 5
	AnyMap    = 6
	AnyBytes  = 7

	// ListValues is that of the values in an ArrayValue, and of the pairs in a KeyValueList.
	ListValues = 1
)
