// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const goodEvent = `{"specversion":"1.0","id":"0af7.firing","source":"/pitwall","type":"optimization.slo.burn","subject":"checkout",
"time":"2026-01-01T00:00:00.5Z","datacontenttype":"application/json","dataschema":"https://example.com/signal.schema.json",
"data":{"id":"0af7","kind":"optimization.slo.burn","version":1,"state":"firing","severity":"page","summary":"Orders fail.",
"target":{"service":"checkout","objective":"checkout-availability"},
"action":{"verb":"investigate","reversible":true,"risk":"low"},
"evidence":{"profile":"demo","windows":[{"rule":"page","window":"3m","burn_rate":28}],"exemplars":[{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}]},
"budget":{"remaining":0.72,"burn":28}}}`

type inbox struct {
	url     string
	signals []Signal
	refused []error
}

func startInbox(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{}
	r, err := startReceiver("127.0.0.1:0", func(s Signal) { in.signals = append(in.signals, s) }, func(err error) { in.refused = append(in.refused, err) })
	require.NoError(t, err)
	in.url = r.url()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		assert.NoError(t, within(time.Second, r.stop))
	})
	return in
}

func (in *inbox) send(t *testing.T, contentType, body string) (int, string) {
	t.Helper()
	response, err := http.Post(in.url, contentType, strings.NewReader(body))
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(answer)
}

func TestReceiverTakesASignalOnceHoweverOftenItIsSent(t *testing.T) {
	in := startInbox(t)
	for range 3 {
		status, _ := in.send(t, structuredJSON+"; charset=utf-8", goodEvent)
		assert.Equal(t, http.StatusAccepted, status)
	}
	require.Len(t, in.signals, 1)
	assert.Equal(t, "checkout", in.signals[0].Target.Service)
	assert.Equal(t, Firing, in.signals[0].State)
	assert.Equal(t, []string{"4bf92f3577b34da6a3ce929d0e0e4736"}, in.signals[0].traceIDs())

	status, _ := in.send(t, structuredJSON, strings.ReplaceAll(strings.ReplaceAll(goodEvent, "0af7.firing", "0af7.resolved"), `"state":"firing"`, `"state":"resolved"`))
	assert.Equal(t, http.StatusAccepted, status)
	assert.Len(t, in.signals, 2)
	assert.Empty(t, in.refused)
}

func TestReceiverRefusesWhatIsNoCloudEventWithASignal(t *testing.T) {
	swap := func(old, by string) string {
		out := strings.Replace(goodEvent, old, by, 1)
		require.NotEqual(t, goodEvent, out)
		return out
	}
	for name, c := range map[string]struct{ contentType, body, want string }{
		"binary mode":          {"application/json", goodEvent, "content-type must be application/cloudevents+json"},
		"batch mode":           {"application/cloudevents-batch+json", "[" + goodEvent + "]", "content-type"},
		"no content type":      {"", goodEvent, "content-type"},
		"no JSON":              {structuredJSON, "hello", "must be one JSON object"},
		"truncated":            {structuredJSON, goodEvent[:200], "must be one JSON object"},
		"an array":             {structuredJSON, "[]", "must be one JSON object"},
		"null":                 {structuredJSON, "null", "got null"},
		"two objects":          {structuredJSON, goodEvent + goodEvent, "must be one JSON object"},
		"old version":          {structuredJSON, swap(`"1.0"`, `"0.3"`), "specversion must be 1.0"},
		"no version":           {structuredJSON, swap(`"specversion":"1.0",`, ``), "attribute specversion must not be empty"},
		"empty id":             {structuredJSON, swap(`"0af7.firing"`, `""`), "attribute id must not be empty"},
		"null source":          {structuredJSON, swap(`"/pitwall"`, `null`), "attribute source must not be empty"},
		"bad source":           {structuredJSON, swap(`"/pitwall"`, `"%zz"`), "source must be a URI reference"},
		"no type":              {structuredJSON, swap(`"type":"optimization.slo.burn",`, ``), "attribute type must not be empty"},
		"bad time":             {structuredJSON, swap(`2026-01-01T00:00:00.5Z`, `yesterday`), "attribute time must be"},
		"bad schema":           {structuredJSON, swap(`https://example.com/signal.schema.json`, `signal.schema.json`), "dataschema must be a URI"},
		"data is not JSON":     {structuredJSON, swap(`"application/json"`, `"text/html"`), "datacontenttype must be JSON"},
		"empty subject":        {structuredJSON, swap(`"checkout"`, `""`), "attribute subject must not be empty"},
		"upper-case attribute": {structuredJSON, swap(`"subject"`, `"Subject"`), "lower-case letters and digits"},
		"attribute an object":  {structuredJSON, swap(`"subject":"checkout"`, `"subject":{}`), "attribute subject must be a text"},
		"no data":              {structuredJSON, swap(`"data":`, `"other":1,"x":`), "attribute x must be a text"},
		"data missing":         {structuredJSON, `{"specversion":"1.0","id":"1","source":"/","type":"optimization.slo.burn"}`, "data must be there"},
		"binary data":          {structuredJSON, swap(`"data":`, `"data_base64":"AA==","data":`), "not data_base64"},
		"other type":           {structuredJSON, swap(`"type":"optimization.slo.burn"`, `"type":"com.example.thing"`), "must begin with optimization."},
		"kind is not type":     {structuredJSON, swap(`"kind":"optimization.slo.burn"`, `"kind":"optimization.other"`), "data.kind must be"},
		"data a number":        {structuredJSON, `{"specversion":"1.0","id":"1","source":"/","type":"optimization.slo.burn","data":1}`, "data must be a signal"},
		"no state":             {structuredJSON, swap(`"state":"firing"`, `"state":""`), "data.state must not be empty"},
		"no signal id":         {structuredJSON, swap(`"id":"0af7",`, ``), "data.id must not be empty"},
	} {
		t.Run(name, func(t *testing.T) {
			in := startInbox(t)
			status, answer := in.send(t, c.contentType, c.body)
			assert.Equal(t, http.StatusBadRequest, status)
			assert.Contains(t, answer, c.want)
			assert.Empty(t, in.signals)
			assert.Len(t, in.refused, 1)
		})
	}
}

func TestReceiverBoundsWhatItReads(t *testing.T) {
	in := startInbox(t)
	status, _ := in.send(t, structuredJSON, strings.Repeat(" ", maxEvent+1)+goodEvent)
	assert.Equal(t, http.StatusRequestEntityTooLarge, status)
	assert.Empty(t, in.signals)
}

func TestReceiverForgetsOldDeliveriesRatherThanGrow(t *testing.T) {
	r := &receiver{seen: map[string]bool{}, got: func(Signal) {}, refused: func(error) {}}
	for i := range maxSeen + 10 {
		body := strings.Replace(goodEvent, "0af7.firing", strings.Repeat("i", i%100)+string(rune('a'+i%26))+time.Duration(i).String(), 1)
		request, err := http.NewRequest(http.MethodPost, "/events", strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", structuredJSON)
		r.post(discard{}, request)
		require.LessOrEqual(t, len(r.seen), maxSeen)
	}
	assert.Len(t, r.seen, 10)
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestASignalWithLittleInItIsStillPlain(t *testing.T) {
	var s Signal
	require.NoError(t, json.Unmarshal([]byte(`{"id":"1","kind":"optimization.blind","state":"pending"}`), &s))
	assert.Equal(t, []string{"PENDING optimization.blind for no service in particular"}, s.plain())
}

func FuzzParseEvent(f *testing.F) {
	f.Add(structuredJSON, []byte(goodEvent))
	f.Add("", []byte("{}"))
	f.Add(structuredJSON, []byte(`{"specversion":"1.0","id":"1","source":"/","type":"t","data":null}`))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		e, err := parseEvent(contentType, body)
		if err != nil {
			return
		}
		// What is accepted is a JSON object with what the specification requires.
		var members map[string]any
		require.NoError(t, json.Unmarshal(body, &members))
		require.Equal(t, "1.0", members["specversion"])
		for _, name := range []string{"id", "source", "type"} {
			require.NotEmpty(t, members[name])
		}
		require.NotEmpty(t, e.ID)
		if s, err := parseSignal(e); err == nil {
			require.NotEmpty(t, s.plain())
		}
	})
}
