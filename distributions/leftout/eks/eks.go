// SPDX-License-Identifier: Apache-2.0

// Package eks stands in for the detector of Amazon EKS that the Collector's own telemetry can name among its resource detectors. That
// detector brings the Kubernetes client, which is more than a small binary should carry for it: this one refuses.
package eks

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/sdk/resource"
)

var errLeftOut = errors.New("the resource detector aws.eks is not in this binary, which has no Kubernetes client: take it out of service::telemetry::resource, or use pitwall")

// NewResourceDetector returns a detector that says that it is none.
func NewResourceDetector() resource.Detector { return leftOut{} }

type leftOut struct{}

// Detect implements resource.Detector.
func (leftOut) Detect(context.Context) (*resource.Resource, error) { return nil, errLeftOut }
