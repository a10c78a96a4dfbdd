// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// defaultAllowed are the attributes whose values may appear in a signal. All of them describe software and where it runs; none of
// them holds what a person typed, is, or came from. Full URLs, paths, queries, addresses and user attributes are left out on purpose.
var defaultAllowed = []string{
	"cloud.availability_zone", "cloud.platform", "cloud.provider", "cloud.region",
	"container.image.name", "container.image.tag",
	"db.collection.name", "db.namespace", "db.operation.name", "db.query.summary", "db.system", "db.system.name",
	"deployment.environment", "deployment.environment.name",
	"error.type", "exception.type",
	"feature_flag.key", "feature_flag.result.variant",
	"http.method", "http.request.method", "http.response.status_code", "http.route", "http.status_code",
	"k8s.cluster.name", "k8s.container.name", "k8s.cronjob.name", "k8s.daemonset.name", "k8s.deployment.name", "k8s.job.name",
	"k8s.namespace.name", "k8s.node.name", "k8s.pod.name", "k8s.statefulset.name",
	"messaging.destination.name", "messaging.operation.name", "messaging.system",
	"rpc.grpc.status_code", "rpc.method", "rpc.response.status_code", "rpc.service", "rpc.system", "rpc.system.name",
	"service.criticality", "service.instance.id", "service.name", "service.namespace", "service.version",
	"severity_text", "span.kind", "span.name", "span.status",
	"telemetry.sdk.language",
}

// AllowList decides which attributes' values may leave in a signal.
type AllowList struct{ names map[string]struct{} }

// NewAllowList returns the built-in list extended by names.
func NewAllowList(names ...string) AllowList {
	l := AllowList{names: make(map[string]struct{}, len(defaultAllowed)+len(names))}
	for _, name := range slices.Concat(defaultAllowed, names) {
		l.names[name] = struct{}{}
	}
	return l
}

// Allows reports whether values of the named attribute may leave.
func (l AllowList) Allows(name string) bool {
	_, ok := l.names[name]
	return ok
}

// CleanText returns s as valid UTF-8 without control or invisible formatting characters, cut to at most limit bytes at a rune.
func CleanText(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
