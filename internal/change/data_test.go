// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

func cdFixtures(tb testing.TB) map[string][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(recordings.Path(tb, "fixtures", "cdevents"), "conformance", "*.json"))
	require.NoError(tb, err)
	require.Len(tb, files, 48)
	all := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(tb, err)
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = data
	}
	return all
}

type ghFixture struct {
	event string
	body  []byte
}

func ghFixtures(tb testing.TB) []ghFixture {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(recordings.Path(tb, "fixtures", "github-webhooks"), "deploy-related.json"))
	require.NoError(tb, err)
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	require.NoError(tb, json.Unmarshal(data, &events))
	var all []ghFixture
	for _, e := range events {
		for _, body := range e.Examples {
			all = append(all, ghFixture{e.Name, body})
		}
	}
	require.Len(tb, all, 54)
	return all
}

func TestEveryCDEventsExampleIsAChangeOrSaysWhyNot(t *testing.T) {
	changes := map[string]string{}
	for name, body := range cdFixtures(t) {
		got, err := CDEvent(body)
		require.NoError(t, err, name)
		require.Len(t, got, 1, name)
		if got[0].Ignored != "" {
			assert.Equal(t, IgnoredNotChange, got[0].Ignored, name)
			continue
		}
		c := got[0].Change
		changes[name] = string(c.Kind) + " " + c.Action
		assert.False(t, c.Time.IsZero(), name)
		assert.NotEmpty(t, c.ID, name)
		assert.NotEmpty(t, c.Environment, name)
	}
	assert.Equal(t, map[string]string{
		"service_deployed": "change.deployment deploy", "service_upgraded": "change.deployment upgrade", "service_rolledback": "change.deployment rollback",
		"service_removed": "change.deployment remove", "service_published": "change.deployment publish", "environment_created": "change.configuration create",
		"environment_modified": "change.configuration modify", "environment_deleted": "change.configuration delete",
	}, changes)
}

// mutate returns a copy of a JSON object with one member of it changed; a nil value takes it out.
func mutate(tb testing.TB, body []byte, value any, path ...string) []byte {
	tb.Helper()
	var root map[string]any
	require.NoError(tb, json.Unmarshal(body, &root))
	at := root
	for _, name := range path[:len(path)-1] {
		at = at[name].(map[string]any)
	}
	if last := path[len(path)-1]; value == nil {
		delete(at, last)
	} else {
		at[last] = value
	}
	data, err := json.Marshal(root)
	require.NoError(tb, err)
	return data
}

func reasonOf(tb testing.TB, err error) string {
	tb.Helper()
	var refused *Refused
	require.ErrorAs(tb, err, &refused)
	assert.NotEmpty(tb, refused.Detail)
	return refused.Reason
}

func TestEveryCDEventsExampleIsRefusedWhenOneMemberIsWrong(t *testing.T) {
	mutations := []struct {
		reason string
		value  any
		path   []string
	}{
		{ReasonMissing, nil, []string{"context"}},
		{ReasonMissing, nil, []string{"subject"}},
		{ReasonMissing, nil, []string{"context", "id"}},
		{ReasonMissing, nil, []string{"context", "source"}},
		{ReasonMissing, nil, []string{"context", "type"}},
		{ReasonMissing, nil, []string{"context", "timestamp"}},
		{ReasonMissing, nil, []string{"context", "specversion"}},
		{ReasonMissing, "", []string{"subject", "id"}},
		{ReasonMissing, nil, []string{"subject", "content"}},
		{ReasonSchema, []any{}, []string{"subject", "content"}},
		{ReasonSchema, 7, []string{"context", "id"}},
		{ReasonSchema, "x", []string{"context", "surprise"}},
		{ReasonSchema, "x", []string{"subject", "surprise"}},
		{ReasonSchema, "x", []string{"surprise"}},
		{ReasonSchema, []any{map[string]any{"linkType": "ROPE"}}, []string{"context", "links"}},
		{ReasonVersion, "0.3.0", []string{"context", "specversion"}},
		{ReasonVersion, "1.0", []string{"context", "specversion"}},
		{ReasonInvalid, "yesterday", []string{"context", "timestamp"}},
		{ReasonInvalid, "not a uri", []string{"context", "schemaUri"}},
		{ReasonUnknownType, "dev.cdevents.service.exploded.0.3.0", []string{"context", "type"}},
		{ReasonUnknownType, "dev.cdeventsx.x", []string{"context", "type"}},
		{ReasonSchema, 5, []string{"customData"}},
		{ReasonSchema, "not base64!", []string{"customData"}},
		{ReasonSchema, 5, []string{"subject", "type"}},
	}
	for name, body := range cdFixtures(t) {
		for _, m := range mutations {
			_, err := CDEvent(mutate(t, body, m.value, m.path...))
			assert.Equal(t, m.reason, reasonOf(t, err), "%s with %v = %v", name, m.path, m.value)
		}
		_, err := CDEvent(body[:len(body)/2])
		assert.Equal(t, ReasonMalformed, reasonOf(t, err), name)
		_, err = CDEvent(append(body[:len(body):len(body)], "{}"...))
		assert.Equal(t, ReasonMalformed, reasonOf(t, err), name)
	}
	deployed := cdFixtures(t)["service_deployed"]
	for _, m := range []struct {
		reason string
		value  any
		path   []string
	}{
		{ReasonMissing, nil, []string{"subject", "content", "environment"}},
		{ReasonMissing, nil, []string{"subject", "content", "environment", "id"}},
		{ReasonMissing, nil, []string{"subject", "content", "artifactId"}},
		{ReasonInvalid, "myapp:1", []string{"subject", "content", "artifactId"}},
		{ReasonInvalid, "pkg:oci/a@%zz", []string{"subject", "content", "artifactId"}},
		{ReasonSchema, "x", []string{"subject", "content", "surprise"}},
	} {
		_, err := CDEvent(mutate(t, deployed, m.value, m.path...))
		assert.Equal(t, m.reason, reasonOf(t, err), "%v", m.path)
	}
	_, err := CDEvent(mutate(t, cdFixtures(t)["service_removed"], "pkg:oci/a@1", "subject", "content", "artifactId"))
	assert.Equal(t, ReasonSchema, reasonOf(t, err))
}

func TestWhatTheSpecificationLeavesOpenIsAccepted(t *testing.T) {
	published := mutate(t, cdFixtures(t)["service_published"], nil, "subject", "content", "environment")
	got, err := CDEvent(mutate(t, published, "eyJhIjoxfQ==", "customData"))
	require.NoError(t, err)
	assert.Equal(t, "publish", got[0].Change.Action)
	assert.Empty(t, got[0].Change.Environment)
	got, err = CDEvent(mutate(t, cdFixtures(t)["service_deployed"], "dev.cdeventsx.tool-thing.done.0.1.0", "context", "type"))
	require.NoError(t, err)
	assert.Equal(t, ignored(IgnoredCustomType), got)
}

func TestCDEventsOfOlderVersionsAreRead(t *testing.T) {
	for _, version := range []string{"0.4.1", "0.5.0"} {
		body := mutate(t, cdFixtures(t)["service_deployed"], nil, "context", "specversion")
		body = mutate(t, body, version, "context", "version")
		body = mutate(t, body, "service", "subject", "type")
		got, err := CDEvent(body)
		require.NoError(t, err)
		assert.Equal(t, "mySubject123", got[0].Change.Service)
		assert.Equal(t, "test123", got[0].Change.Environment)
		assert.Equal(t, "sha256:0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427", got[0].Change.Version)
	}
}

func github() *GitHub { return &GitHub{Workflows: []*regexp.Regexp{regexp.MustCompile(`(?i)deploy`)}} }

func TestEveryGitHubExampleIsAChangeOrSaysWhyNot(t *testing.T) {
	count := map[string]int{}
	all := &GitHub{Workflows: []*regexp.Regexp{regexp.MustCompile(`.`)}}
	for i, f := range ghFixtures(t) {
		got, err := all.Read(f.event, "", f.body)
		require.NoError(t, err, "%d %s", i, f.event)
		require.Len(t, got, 1)
		if why := got[0].Ignored; why != "" {
			count[f.event+" "+why]++
			continue
		}
		c := got[0].Change
		count[f.event+" "+string(c.State)]++
		assert.Equal(t, Deployment, c.Kind)
		assert.NotEmpty(t, c.Version)
		assert.NotEmpty(t, c.Service)
		assert.False(t, c.Time.IsZero())
	}
	total := 0
	for _, n := range count {
		total += n
	}
	assert.Equal(t, 54, total)
	assert.Equal(t, 4, count["deployment planned"])
	assert.Equal(t, 9, count["check_run not_a_change"])
	assert.Equal(t, 8, count["workflow_job not_a_change"])
	assert.Equal(t, 7, count["push not_a_change"])
	assert.Equal(t, 4, count["status not_a_change"])
	assert.Positive(t, count["deployment_status succeeded"])
	assert.Positive(t, count["release planned"])
	assert.Positive(t, count["workflow_run succeeded"])
	t.Logf("mapped: %v", count)
}

func TestEveryGitHubExampleIsRefusedWhenItsObjectIsWrong(t *testing.T) {
	object := map[string]string{"check_run": "check_run", "deployment": "deployment", "deployment_status": "deployment_status", "push": "ref", "release": "release", "status": "sha", "workflow_job": "workflow_job", "workflow_run": "workflow_run"}
	for i, f := range ghFixtures(t) {
		_, err := github().Read(f.event, "d", mutate(t, f.body, nil, object[f.event]))
		assert.Equal(t, ReasonMissing, reasonOf(t, err), "%d %s", i, f.event)
		_, err = github().Read(f.event, "d", mutate(t, f.body, []any{1}, object[f.event]))
		assert.Equal(t, ReasonSchema, reasonOf(t, err), "%d %s", i, f.event)
		_, err = github().Read(f.event, "d", mutate(t, f.body, nil, "repository"))
		assert.Equal(t, ReasonMissing, reasonOf(t, err), "%d %s", i, f.event)
		_, err = github().Read(f.event, "d", f.body[:len(f.body)-2])
		assert.Equal(t, ReasonMalformed, reasonOf(t, err), "%d %s", i, f.event)
		for key, wrong := range map[string]map[string]any{
			"deployment":        {"sha": "abc", "id": 0, "created_at": "x", "environment": ""},
			"deployment_status": {"state": "fine", "updated_at": "x", "id": 0},
			"workflow_run":      {"head_sha": "abc", "updated_at": "x", "id": 0},
			"release":           {"tag_name": "", "id": 0},
		}[f.event] {
			_, err := github().Read(f.event, "d", mutate(t, f.body, wrong, f.event, key))
			require.Error(t, err, "%s %s", f.event, key)
		}
		for key, wrong := range map[string]any{"sha": "abc", "id": 0, "created_at": "x", "environment": ""} {
			if f.event == "deployment" || f.event == "deployment_status" {
				_, err := github().Read(f.event, "d", mutate(t, f.body, wrong, "deployment", key))
				require.Error(t, err, "%s %s", f.event, key)
			}
		}
	}
}

// FuzzReaders holds every reader to its promise: a message that is a change with a key and bounded texts, or a named refusal.
func FuzzReaders(f *testing.F) {
	f.Add([]byte(`{"kind":"deployment","service":"a","time":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"name":"a","namespace":"b","phase":"Progressing","checksum":"1","metadata":{"timestamp":"1700000000000"}}`))
	f.Add([]byte(`{"name":"a","phase":"Healthy","revision":"1","images":["a:1@sha256:0"]}`))
	f.Add([]byte(`{"context":{"specversion":"0.5.0","id":"1","source":"/s","type":"dev.cdevents.service.removed.0.2.0","timestamp":"2026-01-01T00:00:00Z"},"subject":{"id":"a","content":{"environment":{"id":"p"}}}}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"change.feature_flag","data":{"flag":{"key":"k"}}}`))
	f.Add([]byte("[{}]"))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, read := range readers() {
			messages, err := read(body)
			if err != nil {
				assert.NotEmpty(t, reasonOf(t, err), name)
				assert.Empty(t, messages, name)
				continue
			}
			for _, m := range messages {
				if m.Ignored != "" {
					continue
				}
				assert.Contains(t, []Kind{Deployment, FeatureFlag, Configuration}, m.Change.Kind, name)
				assert.LessOrEqual(t, len(m.Change.Service), maxText, name)
				again, err := read(body)
				require.NoError(t, err)
				assert.Equal(t, messages, again, "%s: the same bytes give the same change", name)
			}
		}
	})
}
