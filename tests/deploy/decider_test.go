// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pitwall-io/pitwall/tests/harness"
)

// shippedConfig is one of the configurations we ship.
func shippedConfig(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "configs", name))
	require.NoError(t, err)
	return documents(t, string(text))[0]
}

// Counts that are merged under other objectives than those they were made for would be about something else.
func TestAllTiersHaveTheSameObjectives(t *testing.T) {
	path := []any{"extensions", "slo", "objectives"}
	want := at(shippedConfig(t, "agent.yaml"), path...)
	require.NotEmpty(t, want)
	for _, name := range []string{"sidecar.yaml", "gateway.yaml", "gateway-fleet.yaml", "decider.yaml"} {
		assert.Equal(t, want, at(shippedConfig(t, name), path...), name)
	}
}

// A gateway of a fleet is a lone gateway that says nothing by itself: what it does to telemetry is the same.
func TestGatewaysOfAFleetTreatTelemetryAsALoneOne(t *testing.T) {
	alone, fleet := shippedConfig(t, "gateway.yaml"), shippedConfig(t, "gateway-fleet.yaml")
	for _, path := range [][]any{
		{"receivers"},
		{"processors", "memory_limiter"},
		{"processors", "sli/mark"},
		{"processors", "cardinality"},
		{"processors", "tail_sampling"},
		{"processors", "cost"},
		{"exporters", "otlp_grpc"},
		{"service", "pipelines", "traces"},
		{"service", "pipelines", "traces/sampled"},
		{"service", "pipelines", "logs"},
	} {
		require.NotEmpty(t, path)
		assert.Equal(t, at(alone, path...), at(fleet, path...), "%v", path)
	}
	assert.Equal(t, false, at(fleet, "connectors", "optimizer", "decider"))
	assert.Nil(t, at(fleet, "connectors", "slo"), "it would alert")
	assert.Nil(t, at(fleet, "exporters", "optimization"), "it would say signals")
	// What the detectors of one tier count, those of the other must know.
	decider := shippedConfig(t, "decider.yaml")
	assert.Equal(t, at(fleet, "connectors", "optimizer", "coverage"), at(decider, "connectors", "optimizer", "coverage"))
	assert.Nil(t, at(decider, "connectors", "optimizer", "decider"), "deciding is the default")
}

func TestGatewaysReachTheOneDecider(t *testing.T) {
	list := documents(t, read(t, "kubernetes", "decider.yaml"))
	byKind := map[any]map[string]any{}
	for _, document := range list {
		byKind[document["kind"]] = document
	}
	pods := byKind["StatefulSet"]
	labels := at(pods, "spec", "template", "metadata", "labels")
	assert.Equal(t, 1, at(pods, "spec", "replicas"))
	assert.Subset(t, labels, at(pods, "spec", "selector", "matchLabels"))
	assert.Subset(t, labels, at(byKind["Service"], "spec", "selector"))
	assert.Subset(t, labels, at(byKind["NetworkPolicy"], "spec", "podSelector", "matchLabels"))
	service := at(byKind["Service"], "metadata", "name").(string)
	assert.Equal(t, service, at(pods, "spec", "serviceName"))
	assert.Equal(t, 4318, at(byKind["Service"], "spec", "ports", 0, "port"))

	gateway := documents(t, read(t, "kubernetes", "gateway.yaml"))[0]
	want := "http://" + service + ".pitwall.svc.cluster.local:4318"
	assert.Equal(t, want, environment(collectors(podSpec(gateway))[0])["PITWALL_DECIDER_ENDPOINT"])
	assert.Subset(t, at(gateway, "spec", "template", "metadata", "labels"),
		at(byKind["NetworkPolicy"], "spec", "ingress", 0, "from", 0, "podSelector", "matchLabels"), "the policy keeps gateways out")
	assert.Equal(t, []any{map[string]any{"port": "otlp-http"}}, at(byKind["NetworkPolicy"], "spec", "ingress", 0, "ports"))

	values := documents(t, read(t, "helm", "values-decider.yaml"))[0]
	assert.Equal(t, service, values["fullnameOverride"])
	assert.Equal(t, 1, values["replicaCount"])
	gatewayValues := documents(t, read(t, "helm", "values-gateway.yaml"))[0]
	assert.Contains(t, gatewayValues["extraEnvs"], map[string]any{"name": "PITWALL_DECIDER_ENDPOINT", "value": want})
	assert.Equal(t, gatewayValues["fullnameOverride"],
		at(values, "networkPolicy", "allowIngressFrom", 0, "podSelector", "matchLabels", "app.kubernetes.io/instance"), "as it is installed")
}

// instanceArgument names the collector.
const instanceArgument = "--config=yaml:service::telemetry::resource::service.instance.id: "

// By the name of the sender, who merges counts tells what comes again from what is new: it must live as long as the sender's state.
func TestWhoeverCountsHasANameThatLastsAsLongAsItsState(t *testing.T) {
	for file, name := range map[string]string{"agent.yaml": "NODE_NAME", "sidecar-pod.yaml": "POD_NAME"} {
		container := collectors(podSpec(documents(t, read(t, "kubernetes", file))[0]))[0]
		assert.Equal(t, instanceArgument+"'$("+name+")'", at(container, "args", 2), file)
		assert.Contains(t, environment(container), name, file)
	}
	values := documents(t, read(t, "helm", "values-agent.yaml"))[0]
	// The chart renders an argument as it stands, as an element of a list.
	argument, ok := at(values, "command", "extraArgs", 0).(string)
	require.True(t, ok)
	var rendered []string
	require.NoError(t, yaml.Unmarshal([]byte("- "+argument), &rendered))
	assert.Equal(t, []string{instanceArgument + "'$(NODE_NAME)'"}, rendered)

	config := filepath.Join(harness.Root(t), "configs", "agent.yaml")
	for _, name := range []string{"'node-7'", "'1234'", "'no'"} { // the quotes keep a name from being a number or a truth
		assert.NoError(t, harness.Validate(t, harness.Binary(t, "pitwall"), config, strings.TrimPrefix(instanceArgument, "--config=")+name))
	}
}
