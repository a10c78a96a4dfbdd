// SPDX-License-Identifier: Apache-2.0

// Package otelattr holds the attribute names Pitwall reads, as the semantic conventions write them today, and the older names that
// instrumentation in the field still sends.
package otelattr

// Names from the semantic conventions.
const (
	ServiceName               = "service.name"
	ServiceNamespace          = "service.namespace"
	ServiceVersion            = "service.version"
	ServiceInstanceID         = "service.instance.id"
	DeploymentEnvironmentName = "deployment.environment.name"
	HostName                  = "host.name"
	HTTPRoute                 = "http.route"
	HTTPRequestMethod         = "http.request.method"
	HTTPResponseStatusCode    = "http.response.status_code"
	RPCMethod                 = "rpc.method"
	RPCResponseStatusCode     = "rpc.response.status_code"
	ErrorType                 = "error.type"
	K8SPodName                = "k8s.pod.name"
	K8SPodUID                 = "k8s.pod.uid"
	UserAgentSyntheticType    = "user_agent.synthetic.type"
)

// Names of our own.
const (
	SLOName     = "slo.name"
	SLOVerdict  = "slo.verdict"
	SLOBad      = "slo.bad"
	SLOBadNames = "slo.bad.names"
	// SLOGroup is the prefix of the group_by attributes on everything that concerns a group.
	SLOGroup = "slo.group."
)

// aliases lists, for a current name, the names it had before, newest first.
var aliases = map[string][]string{
	DeploymentEnvironmentName:   {"deployment.environment"},
	HTTPRequestMethod:           {"http.method"},
	HTTPResponseStatusCode:      {"http.status_code"},
	RPCResponseStatusCode:       {"rpc.grpc.status_code"},
	"url.full":                  {"http.url"},
	"url.path":                  {"http.target"},
	"server.address":            {"net.host.name", "net.peer.name"},
	"user_agent.original":       {"http.user_agent"},
	"db.system.name":            {"db.system"},
	"db.query.text":             {"db.statement"},
	"db.namespace":              {"db.name"},
	"messaging.operation.name":  {"messaging.operation"},
	"code.function.name":        {"code.function"},
	"feature_flag.result.value": {"feature_flag.variant"},
}

// Aliases returns the older names of an attribute, newest first; nil when it has none. The caller must not change the slice.
func Aliases(name string) []string { return aliases[name] }
