// SPDX-License-Identifier: Apache-2.0

// Package shoppb holds the shop's gRPC interfaces. The Go files are generated from shop.proto and committed, so that building the
// shop needs neither protoc nor its plugins.
//
//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative shop.proto
package shoppb
