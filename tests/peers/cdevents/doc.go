// SPDX-License-Identifier: Apache-2.0

// Package cdevents holds the reader of CDEvents beside the JSON schemas that the CDEvents project publishes with its SDK for Go.
package cdevents
