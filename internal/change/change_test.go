// SPDX-License-Identifier: Apache-2.0

package change

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/recordings"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func readers() map[string]func([]byte) ([]Message, error) {
	all := map[string]func([]byte) ([]Message, error){
		"plain": Plain, "cdevents": CDEvent, "flagger": Flagger, "argocd": ArgoCD, "argo rollouts": ArgoRollouts,
		"structured": func(b []byte) ([]Message, error) { return CloudEvents(header("Content-Type", structuredType), b) },
		"batch":      func(b []byte) ([]Message, error) { return CloudEvents(header("Content-Type", batchType), b) },
		"binary": func(b []byte) ([]Message, error) {
			return CloudEvents(header("Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "change.deployment"), b)
		},
	}
	for _, event := range []string{"ping", "deployment", "deployment_status", "release", "workflow_run", "push", "star"} {
		all["github "+event] = func(b []byte) ([]Message, error) { return github().Read(event, "", b) }
	}
	return all
}

func TestHostileTelemetryIsNeverTakenForAChange(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings.Path(t, "fixtures", "otlp-badinput"), "*.jsonl"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 38)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for name, read := range readers() {
			messages, err := read(data)
			for _, m := range messages {
				assert.NotEmpty(t, m.Ignored, "%s as %s", file, name)
			}
			if err != nil {
				reasonOf(t, err)
			}
		}
	}
}

func TestDeepAndLongInputIsRefusedOrCut(t *testing.T) {
	for name, read := range readers() {
		_, err := read([]byte(strings.Repeat("[", 100_000)))
		assert.Equal(t, ReasonMalformed, reasonOf(t, err), name)
		_, err = read([]byte("{\"a\":\"\xff\"}"))
		assert.Equal(t, ReasonMalformed, reasonOf(t, err), name)
	}
	got, err := Plain(fmt.Appendf(nil, `{"kind":"deployment","service":"%s","message":"%s"}`, strings.Repeat("é", 9000), strings.Repeat("x", 9000)))
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat("é", maxText/2), got[0].Change.Service)
	assert.Len(t, got[0].Change.Message, maxMessage)
}

func TestThePlainForm(t *testing.T) {
	got, err := Plain([]byte(`{"kind":"deployment","id":"1","service":"checkout","version":"1.4.2","environment":"production","namespace":"shop",
		"time":"2026-03-01T12:00:00Z","state":"failed","action":"rollback","signal_id":"s","url":"u","repository":"r","revision":"abc","attributes":{"team.name":"a"}}`))
	require.NoError(t, err)
	assert.Equal(t, []Message{{Change: Change{
		Kind: Deployment, ID: "1", Tool: "plain", Action: "rollback", State: Failed, Time: t0, Service: "checkout", Namespace: "shop", Version: "1.4.2",
		Environment: "production", SignalID: "s", Key: digest("plain", "1"),
		Attributes: map[string]string{"team.name": "a", "change.url": "u", "vcs.repository.url.full": "r", "vcs.ref.head.revision": "abc"},
	}}}, got)
	anonymous, err := Plain([]byte(`{"kind":"change.configuration"}`))
	require.NoError(t, err)
	assert.Empty(t, anonymous[0].Change.Key, "without id and time every request is a change of its own")
	assert.Equal(t, "modify", anonymous[0].Change.Action)
	flag, err := Plain([]byte(`{"kind":"feature_flag","time":"2026-03-01T12:00:00Z","flag":{"key":"k","variant":"on"}}`))
	require.NoError(t, err)
	assert.NotEmpty(t, flag[0].Change.Key)
	assert.Equal(t, map[string]string{"feature_flag.key": "k", "feature_flag.result.variant": "on"}, flag[0].Change.Attributes)
}

func TestAWrongPlainFormIsRefusedWithTheReason(t *testing.T) {
	many := make([]string, maxAttributes+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"a%d":"b"`, i)
	}
	for body, reason := range map[string]string{
		``:                                      ReasonMalformed,
		`{`:                                     ReasonMalformed,
		`{"kind":"deployment","service":"a"} x`: ReasonMalformed,
		`[]`:                                    ReasonSchema,
		`{"kind":1}`:                            ReasonSchema,
		`{"server":"a"}`:                        ReasonSchema,
		`{}`:                                    ReasonUnknownType,
		`null`:                                  ReasonUnknownType,
		`{"kind":"reboot"}`:                     ReasonUnknownType,
		`{"kind":"deployment"}`:                 ReasonMissing,
		`{"kind":"feature_flag"}`:               ReasonMissing,
		`{"kind":"deployment","service":"a","state":"done"}`:                           ReasonInvalid,
		`{"kind":"deployment","service":"a","time":"now"}`:                             ReasonInvalid,
		`{"kind":"deployment","service":"a","time":"1900-01-01T00:00:00Z"}`:            ReasonInvalid,
		`{"kind":"deployment","service":"a","attributes":{"A b":"c"}}`:                 ReasonInvalid,
		`{"kind":"deployment","service":"a","attributes":{"change.id":"c"}}`:           ReasonInvalid,
		`{"kind":"configuration","attributes":{` + strings.Join(many, ",") + `}}`:      ReasonInvalid,
		`{"kind":"deployment","service":"a","attributes":{"a":{"b":"c"}}}`:             ReasonSchema,
		`{"kind":"deployment","service":"a","flag":{"key":"k","who":"somebody else"}}`: ReasonSchema,
	} {
		_, err := Plain([]byte(body))
		assert.Equal(t, reason, reasonOf(t, err), body)
	}
}

const plainData = `{"service":"a","version":"2"}`

func TestTheThreeModesOfCloudEventsSayTheSame(t *testing.T) {
	event := `{"specversion":"1.0","id":"1","source":"/s","type":"change.deployment","time":"2026-03-01T12:00:00Z","data":` + plainData + `}`
	binary, err := CloudEvents(header("Content-Type", "application/json; charset=utf-8", "ce-specversion", "1.0", "ce-id", "1", "ce-source", "%2Fs", "ce-type", "change.deployment",
		"ce-time", "2026-03-01T12:00:00Z"), []byte(plainData))
	require.NoError(t, err)
	structured, err := CloudEvents(header("Content-Type", structuredType), []byte(event))
	require.NoError(t, err)
	batch, err := CloudEvents(header("Content-Type", batchType), []byte("["+event+","+event+"]"))
	require.NoError(t, err)
	encoded, err := CloudEvents(header("Content-Type", structuredType), []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"change.deployment",
		"time":"2026-03-01T12:00:00Z","data_base64":"`+base64.StdEncoding.EncodeToString([]byte(plainData))+`"}`))
	require.NoError(t, err)
	assert.Equal(t, binary, structured)
	assert.Equal(t, binary, encoded)
	assert.Equal(t, slices.Concat(binary, binary), batch)
	c := binary[0].Change
	assert.Equal(t, "a 2 1 cloudevents", strings.Join([]string{c.Service, c.Version, c.ID, c.Tool}, " "))
	assert.Equal(t, t0, c.Time)
	assert.True(t, IsCloudEvent(header("Content-Type", "Application/CloudEvents+json")))
	assert.True(t, IsCloudEvent(header("ce-specversion", "1.0")))
	assert.False(t, IsCloudEvent(header("Content-Type", "application/json")))
}

func TestACDEventInACloudEventIsRead(t *testing.T) {
	inner := string(cdFixtures(t)["service_deployed"])
	wrap := func(id string) []byte {
		return []byte(`{"specversion":"1.0","id":"` + id + `","source":"/s","type":"dev.cdevents.service.deployed.0.3.0","data":` + inner + `}`)
	}
	got, err := CloudEvents(header("Content-Type", structuredType), wrap("271069a8-fc18-44f1-b38f-9d70a1695819"))
	require.NoError(t, err)
	direct, err := CDEvent([]byte(inner))
	require.NoError(t, err)
	assert.Equal(t, direct, got, "told either way it is one change")
	_, err = CloudEvents(header("Content-Type", structuredType), wrap("another"))
	assert.Equal(t, ReasonMismatch, reasonOf(t, err))
}

func TestAWrongCloudEventIsRefusedWithTheReason(t *testing.T) {
	for body, reason := range map[string]string{
		`{"specversion":"1.0","source":"/s","type":"change.deployment"}`:                                                          ReasonMissing,
		`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`:                                                                 ReasonVersion,
		`{"specversion":"1.0","id":"1","source":"%zz","type":"t"}`:                                                                ReasonInvalid,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"x"}`:                                                      ReasonInvalid,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"eA=="}`:                                   ReasonSchema,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}`:                                               ReasonInvalid,
		`{"specversion":"1.0","id":"1","source":"/s","type":"change.deployment"}`:                                                 ReasonMalformed,
		`{"specversion":"1.0","id":"1","source":"/s","type":"change.deployment","data":{"kind":"configuration","service":"a"}}`:   ReasonMismatch,
		`{"specversion":"1.0","id":"1","source":"/s","type":"change.configuration","time":"x","data":{"service":"a"}}`:            ReasonInvalid,
		`{"specversion":"1.0","id":"1","source":"/s","type":"dev.cdevents.service.deployed.0.3.0","data":"text, and not object"}`: ReasonSchema,
	} {
		_, err := CloudEvents(header("Content-Type", structuredType), []byte(body))
		assert.Equal(t, reason, reasonOf(t, err), body)
		_, err = CloudEvents(header("Content-Type", batchType), []byte("["+body+"]"))
		assert.Equal(t, reason, reasonOf(t, err), body)
		assert.ErrorContains(t, err, "event 0")
	}
	for contentType, body := range map[string]string{"": "{}", "application/cloudevents+avro": "x", batchType: "null"} {
		_, err := CloudEvents(header("Content-Type", contentType), []byte(body))
		require.Error(t, err, contentType)
	}
	_, err := CloudEvents(header("Content-Type", "application/json", "ce-id", "%zz"), nil)
	assert.Equal(t, ReasonInvalid, reasonOf(t, err))
	_, err = CloudEvents(header("Content-Type", batchType), []byte("["+strings.Repeat("{},", MaxEvents)+"{}]"))
	assert.Equal(t, ReasonTooMany, reasonOf(t, err))
	other, err := CloudEvents(header("Content-Type", structuredType), []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"com.example.order","time":"2026-03-01T12:00:00Z","data":1}`))
	require.NoError(t, err)
	assert.Equal(t, ignored(IgnoredNotChange), other)
}

func TestGitHubEventsThatAreNoChangeSaySo(t *testing.T) {
	got, err := github().Read("ping", "d", []byte(`{"zen":"Keep it logically awesome."}`))
	require.NoError(t, err)
	assert.Equal(t, ignored(IgnoredPing), got)
	got, err = github().Read("star", "d", []byte(`{}`))
	require.NoError(t, err)
	assert.Equal(t, ignored(IgnoredUnknown), got)
	_, err = github().Read("", "d", []byte(`{}`))
	assert.Equal(t, ReasonMissing, reasonOf(t, err))
	_, err = github().Read("ping", "d", []byte(`{}`))
	assert.Equal(t, ReasonMissing, reasonOf(t, err))
}

func TestADeploymentsPayloadNamesTheService(t *testing.T) {
	body := `{"action":"created","repository":{"name":"mono","full_name":"o/mono"},"deployment":{"id":1,"sha":"` + strings.Repeat("a", 40) + `","ref":"main","task":"deploy:rollback",
		"environment":"prod","created_at":"2026-03-01T12:00:00Z","payload":{"service":"checkout","version":"1.2","signal_id":"sig"}}}`
	got, err := github().Read("deployment", "d", []byte(body))
	require.NoError(t, err)
	c := got[0].Change
	assert.Equal(t, "checkout 1.2 sig rollback prod d", strings.Join([]string{c.Service, c.Version, c.SignalID, c.Action, c.Environment, c.ID}, " "))
	again, err := github().Read("deployment", "another delivery", []byte(body))
	require.NoError(t, err)
	assert.Equal(t, c.Key, again[0].Change.Key, "the delivery header is not signed, so it cannot make a change another")
}

func TestFlaggerTellsEachPhaseOnce(t *testing.T) {
	tell := func(phase, checksum, stamp string) Change {
		got, err := Flagger(fmt.Appendf(nil, `{"name":"podinfo","namespace":"test","phase":%q,"checksum":%q,"metadata":{"eventMessage":"m","timestamp":%q}}`, phase, checksum, stamp))
		require.NoError(t, err)
		return got[0].Change
	}
	first, second, other := tell("Progressing", "1", "1772366400000"), tell("Progressing", "1", "1772366460000"), tell("Succeeded", "1", "1772366460000")
	assert.Equal(t, t0, first.Time)
	assert.Equal(t, []string{first.Key, first.Value}, []string{second.Key, second.Value})
	assert.NotEqual(t, first.ID, second.ID)
	assert.Equal(t, first.Key, other.Key)
	assert.NotEqual(t, first.Value, other.Value)
	assert.Equal(t, Succeeded, other.State)
	for body, reason := range map[string]string{
		`{"namespace":"n","phase":"Failed"}`:                                            ReasonMissing,
		`{"name":"a","namespace":"n","phase":"Broken"}`:                                 ReasonInvalid,
		`{"name":"a","namespace":"n","phase":"Failed","metadata":{"timestamp":"soon"}}`: ReasonInvalid,
		`{"name":"a","namespace":"n","phase":"Failed","metadata":{"weight":5}}`:         ReasonSchema,
	} {
		_, err := Flagger([]byte(body))
		assert.Equal(t, reason, reasonOf(t, err), body)
	}
	waiting, err := Flagger([]byte(`{"name":"a","namespace":"n","phase":"Waiting"}`))
	require.NoError(t, err)
	assert.Equal(t, ignored(IgnoredState), waiting)
}

func TestArgoNotificationsAreRead(t *testing.T) {
	got, err := ArgoCD([]byte(`{"name":"shop","namespace":"prod","phase":"Error","revision":"abc","time":"2026-03-01T12:00:00Z","images":["reg:5000/shop:1.2@sha256:0"],"repository":"r"}`))
	require.NoError(t, err)
	c := got[0].Change
	assert.Equal(t, "shop 1.2 failed", strings.Join([]string{c.Service, c.Version, string(c.State)}, " "))
	assert.Equal(t, "abc", c.Attributes["vcs.ref.head.revision"])
	got, err = ArgoRollouts([]byte(`{"name":"shop","namespace":"prod","phase":"Degraded","revision":"7d9f","aborted":true}`))
	require.NoError(t, err)
	assert.Equal(t, "rollback", got[0].Change.Action)
	assert.Equal(t, "7d9f", got[0].Change.Version)
	got, err = ArgoRollouts([]byte(`{"name":"shop","phase":"Paused","revision":"7d9f"}`))
	require.NoError(t, err)
	assert.Equal(t, ignored(IgnoredState), got)
	for body, reason := range map[string]string{
		`{"name":"shop","phase":"Healthy"}`:                                              ReasonMissing,
		`{"name":"shop","phase":"Good","revision":"1"}`:                                  ReasonInvalid,
		`{"name":"shop","phase":"Healthy","revision":"1","time":"x"}`:                    ReasonInvalid,
		`{"name":"shop","phase":"Healthy","revision":"1","weight":5}`:                    ReasonSchema,
		`{"name":"shop","phase":"Healthy","revision":"1","images":"one and not a list"}`: ReasonSchema,
	} {
		_, err := ArgoRollouts([]byte(body))
		assert.Equal(t, reason, reasonOf(t, err), body)
	}
	for image, want := range map[string]string{"a:1": "1", "reg:5000/a": "", "reg:5000/a@sha256:1": "sha256:1", "a": ""} {
		assert.Equal(t, want, imageTag(image), image)
	}
	tagged, err := packageVersion("pkg:oci/a@sha256%3A0?tag=v1#sub")
	require.NoError(t, err)
	assert.Equal(t, "v1", tagged)
}

func TestOldAndFutureChangesAreRefused(t *testing.T) {
	for offset, reason := range map[time.Duration]string{-25 * time.Hour: ReasonStale, -23 * time.Hour: "", time.Minute: "", 2 * time.Minute: ReasonFuture} {
		c := Change{Time: t0.Add(offset)}
		err := c.CheckAge(t0, 24*time.Hour, time.Minute)
		if reason == "" {
			require.NoError(t, err, offset)
			continue
		}
		assert.Equal(t, reason, reasonOf(t, err), offset)
	}
	require.NoError(t, (&Change{}).CheckAge(t0, time.Hour, 0))
	require.NoError(t, (&Change{Time: t0.Add(-1e6 * time.Hour)}).CheckAge(t0, 0, 0))
}

func TestASignatureOfGitHubIsChecked(t *testing.T) {
	body := []byte(`{"a":1}`)
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write(body)
	right := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	require.NoError(t, VerifyGitHub("secret", right, body))
	for _, wrong := range []string{"", "sha1=ab", "sha256=", "sha256=zz", right[:20], "sha256=" + strings.Repeat("0", 64)} {
		err := VerifyGitHub("secret", wrong, body)
		assert.Equal(t, ReasonSignature, reasonOf(t, err), wrong)
		assert.NotContains(t, err.Error(), "secret")
	}
	assert.Error(t, VerifyGitHub("secret", right, []byte(`{"a":2}`)))
	assert.Error(t, VerifyGitHub("other", right, body))
}

func TestAStandardWebhookIsCheckedAndCannotBeReplayedLater(t *testing.T) {
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 24)))
	key, err := WebhookKey(secret)
	require.NoError(t, err)
	body := []byte("body")
	sign := func(id string, at time.Time) http.Header {
		stamp := strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + ".body"))
		return header("webhook-id", id, "webhook-timestamp", stamp, "webhook-signature", "v1a,xx v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	verify := func(h http.Header, now time.Time) error { return VerifyWebhook(key, h, body, now, 5*time.Minute) }
	require.NoError(t, verify(sign("1", t0), t0.Add(5*time.Minute)))
	require.NoError(t, verify(sign("1", t0), t0.Add(-5*time.Minute)))
	assert.Error(t, verify(sign("1", t0), t0.Add(5*time.Minute+time.Second)))
	assert.Error(t, verify(sign("1", t0), t0.Add(-5*time.Minute-time.Second)))
	assert.Error(t, verify(header(), t0))
	for name, value := range map[string]string{"webhook-id": "2", "webhook-timestamp": strconv.FormatInt(t0.Unix()+1, 10), "webhook-signature": "v1,AAAA"} {
		h := sign("1", t0)
		h.Set(name, value)
		assert.Equal(t, ReasonSignature, reasonOf(t, verify(h, t0)), name)
	}
	extreme := sign("1", t0)
	extreme.Set("webhook-timestamp", "-9223372036854775808")
	assert.Error(t, verify(extreme, t0))
	for _, wrong := range []string{"", "whsec_", "whsec_?", strings.TrimPrefix(secret, "whsec_"), "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))} {
		_, err := WebhookKey(wrong)
		assert.Error(t, err, wrong)
	}
}

func TestMemoryAgreesWithAListThatIsSearched(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type pair struct{ key, value string }
	for range 200 {
		limit := 1 + random.IntN(8)
		m := NewMemory(limit)
		var oracle []pair
		forgotten := int64(0)
		for range 100 {
			p := pair{strconv.Itoa(random.IntN(12)), strconv.Itoa(random.IntN(3))}
			assert.Equal(t, slices.Contains(oracle, p), m.Knows(p.key, p.value))
			m.Add(p.key, p.value)
			oracle = slices.DeleteFunc(oracle, func(o pair) bool { return o.key == p.key })
			oracle = append(oracle, p)
			if len(oracle) > limit {
				oracle = oracle[1:]
				forgotten++
			}
			require.Equal(t, len(oracle), m.Len())
			require.Equal(t, forgotten, m.Forgotten)
		}
		data, err := m.Snapshot()
		require.NoError(t, err)
		restored := NewMemory(limit)
		require.NoError(t, restored.Restore(data))
		for _, p := range oracle {
			assert.True(t, restored.Knows(p.key, p.value))
		}
	}
}

func TestADamagedSnapshotIsRefused(t *testing.T) {
	m := NewMemory(3)
	m.Add("key", "value")
	data, err := m.Snapshot()
	require.NoError(t, err)
	for i := range data {
		damaged := slices.Clone(data)
		damaged[i] ^= 1
		restored := NewMemory(3)
		if restored.Restore(damaged) == nil {
			assert.True(t, restored.Knows("key", "value"), "byte %d", i)
		}
	}
	assert.ErrorIs(t, NewMemory(1).Restore(nil), ErrSnapshot)
	assert.ErrorIs(t, NewMemory(1).Restore([]byte(`{"version":2}`)), ErrSnapshot)
}

func TestABucketLetsNoMoreThroughThanItsRate(t *testing.T) {
	b := NewBucket(2, 3)
	passed := 0
	for i := range 100 {
		if b.Take(t0.Add(time.Duration(i) * 100 * time.Millisecond)) {
			passed++
		}
	}
	assert.Equal(t, 22, passed, "the burst of 3, and 2 a second for 9.9 seconds")
	assert.False(t, b.Take(t0), "a clock that goes back gives nothing")
}
