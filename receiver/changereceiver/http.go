// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/pitwall-io/pitwall/internal/change"
)

// Reasons of refusal that are found here.
const (
	reasonTooLarge    = "too_large"
	reasonUnreadable  = "unreadable_body"
	reasonContentType = "content_type"
	reasonMethod      = "method"
	reasonPath        = "unknown_path"
	reasonRate        = "rate_limit"
	reasonInFlight    = "in_flight"
	reasonNext        = "next_component"
	reasonNextForGood = "next_component_permanent"
)

var statusOf = map[string]int{
	change.ReasonSignature: http.StatusUnauthorized, change.ReasonNoSecret: http.StatusForbidden,
	reasonTooLarge: http.StatusRequestEntityTooLarge, reasonContentType: http.StatusUnsupportedMediaType, reasonMethod: http.StatusMethodNotAllowed,
	reasonPath: http.StatusNotFound, reasonRate: http.StatusTooManyRequests, reasonInFlight: http.StatusServiceUnavailable,
	reasonNext: http.StatusServiceUnavailable, reasonNextForGood: http.StatusInternalServerError,
}

// answer is the body of every response.
type answer struct {
	Emitted    int            `json:"emitted"`
	Duplicates int            `json:"duplicates"`
	Ignored    map[string]int `json:"ignored,omitempty"`
	Error      string         `json:"error,omitempty"`
	Reason     string         `json:"reason,omitempty"`
}

func (r *changeReceiver) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		source := strings.TrimPrefix(req.URL.Path, "/")
		if !slices.Contains(r.cfg.Sources, source) {
			r.fail(w, req, "unknown", &change.Refused{Reason: reasonPath, Detail: "there is nothing at this path"})
			return
		}
		if !r.allow() {
			r.fail(w, req, source, &change.Refused{Reason: reasonRate, Detail: "too many requests"})
			return
		}
		if req.Method == http.MethodOptions && (source == sourceCloudEvents || source == sourceCDEvents) {
			r.handshake(w, req)
			return
		}
		got, err := r.take(req, source)
		if err != nil {
			r.fail(w, req, source, err)
			return
		}
		reply(w, http.StatusOK, got)
	})
}

func (r *changeReceiver) allow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bucket.Take(r.now())
}

// handshake answers the validation request of CloudEvents' webhooks: whoever got past authentication may deliver.
func (r *changeReceiver) handshake(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Allow", "POST, OPTIONS")
	if origin := req.Header.Get("WebHook-Request-Origin"); origin != "" {
		w.Header().Set("WebHook-Allowed-Origin", origin)
		w.Header().Set("WebHook-Allowed-Rate", strconv.Itoa(max(1, int(min(r.cfg.RateLimit.RequestsPerSecond*60, 1e9)))))
	}
	w.WriteHeader(http.StatusOK)
}

// take reads, checks and emits one request.
func (r *changeReceiver) take(req *http.Request, source string) (*answer, error) {
	body, err := r.body(req, source)
	if err != nil {
		return nil, err
	}
	messages, err := r.parse(req, source, body)
	if err != nil {
		return nil, err
	}
	now := r.now()
	got := &answer{}
	var changes []change.Change
	for _, m := range messages {
		if m.Ignored != "" {
			if got.Ignored == nil {
				got.Ignored = map[string]int{}
			}
			got.Ignored[m.Ignored]++
			continue
		}
		if err := m.Change.CheckAge(now, r.cfg.MaxAge, r.cfg.MaxFuture); err != nil {
			return nil, err
		}
		r.rename(&m.Change)
		changes = append(changes, m.Change)
	}
	if got.Duplicates, err = r.deliver(req.Context(), changes); err != nil {
		return nil, err
	}
	got.Emitted = len(changes) - got.Duplicates
	r.count(req.Context(), source, got)
	return got, nil
}

// body reads the request. Its size and its compression are bounded by the server's settings.
func (*changeReceiver) body(req *http.Request, source string) ([]byte, error) {
	if req.Method != http.MethodPost {
		return nil, &change.Refused{Reason: reasonMethod, Detail: "use POST"}
	}
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return nil, &change.Refused{Reason: reasonContentType, Detail: "Content-Type must be application/json or end in +json (path /" + source + ")"}
	}
	body, err := io.ReadAll(req.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &change.Refused{Reason: reasonTooLarge, Detail: "the body is larger than max_request_body_size"}
	case err != nil:
		return nil, &change.Refused{Reason: reasonUnreadable, Detail: "the body cannot be read"}
	}
	return body, nil
}

func (r *changeReceiver) parse(req *http.Request, source string, body []byte) ([]change.Message, error) {
	switch source {
	case sourceGitHub:
		if r.cfg.GitHub.Secret == "" {
			return nil, &change.Refused{Reason: change.ReasonNoSecret, Detail: "github::secret is not set"}
		}
		if err := change.VerifyGitHub(string(r.cfg.GitHub.Secret), req.Header.Get("X-Hub-Signature-256"), body); err != nil {
			return nil, err
		}
		return r.github.Read(req.Header.Get("X-GitHub-Event"), req.Header.Get("X-GitHub-Delivery"), body)
	case sourceFlagger:
		return change.Flagger(body)
	case sourceArgoCD:
		return change.ArgoCD(body)
	case sourceArgoRollouts:
		return change.ArgoRollouts(body)
	}
	if r.webhookKey != nil {
		if err := change.VerifyWebhook(r.webhookKey, req.Header, body, r.now(), r.cfg.StandardWebhooks.Tolerance); err != nil {
			return nil, err
		}
	}
	switch {
	case source == sourceCloudEvents || change.IsCloudEvent(req.Header):
		return change.CloudEvents(req.Header, body)
	case source == sourceCDEvents:
		return change.CDEvent(body)
	}
	return change.Plain(body)
}

// rename gives the service the name its telemetry has.
func (r *changeReceiver) rename(c *change.Change) {
	name, ok := r.cfg.ServiceNames[c.Service]
	if full := c.Attributes["change.origin"]; c.Attributes["vcs.repository.name"] == c.Service && r.cfg.ServiceNames[full] != "" {
		name, ok = r.cfg.ServiceNames[full], true
	}
	if ok {
		c.Service = name
	}
}

// deliver hands the changes that are new to the next component, and remembers them once it has them.
func (r *changeReceiver) deliver(ctx context.Context, changes []change.Change) (duplicates int, err error) {
	fresh, err := r.reserve(changes)
	if err != nil {
		return 0, err
	}
	duplicates = len(changes) - len(fresh)
	if len(fresh) == 0 {
		return duplicates, nil
	}
	logs := plog.NewLogs()
	now := r.now()
	for i := range fresh {
		appendChange(logs, r.version, &fresh[i], now)
	}
	err = r.next.ConsumeLogs(ctx, logs)
	r.mu.Lock()
	defer r.mu.Unlock()
	var keyed []change.Change
	for _, c := range fresh {
		delete(r.inFlight, c.Key)
		if c.Key != "" && err == nil {
			r.memory.Add(c.Key, c.Value)
			keyed = append(keyed, c)
		}
	}
	switch {
	case consumererror.IsPermanent(err):
		r.log.Warn("the next component refused changes for good", zap.Int("changes", len(fresh)), zap.Error(err))
		return 0, &change.Refused{Reason: reasonNextForGood, Detail: "the pipeline refused the change"}
	case err != nil:
		return 0, &change.Refused{Reason: reasonNext, Detail: "the pipeline cannot take the change now"}
	}
	// The client may hang up now; what it told is remembered all the same.
	if err := r.shelf.keep(context.WithoutCancel(ctx), r.memory, keyed); err != nil {
		r.telemetry.ChangeStateFailures.Add(ctx, 1)
		r.log.Warn("what is remembered could not be stored", zap.Error(err))
	}
	return duplicates, nil
}

// reserve returns the changes that are not known yet, and marks them as on their way. A sender that tells a change again while the first
// telling is on its way is sent back, since nobody knows yet how that one ends.
func (r *changeReceiver) reserve(changes []change.Change) ([]change.Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var fresh []change.Change
	own := map[string]bool{}
	for _, c := range changes {
		switch {
		case c.Key == "":
		case own[c.Key] || r.memory.Knows(c.Key, c.Value):
			continue
		case r.inFlight[c.Key]:
			return nil, &change.Refused{Reason: reasonInFlight, Detail: "this change is on its way already"}
		}
		own[c.Key] = c.Key != ""
		fresh = append(fresh, c)
	}
	for _, c := range fresh {
		if c.Key != "" {
			r.inFlight[c.Key] = true
		}
	}
	return fresh, nil
}

func (r *changeReceiver) count(ctx context.Context, source string, got *answer) {
	add := func(outcome, reason string, n int) {
		if n > 0 {
			r.telemetry.ChangeEvents.Add(ctx, int64(n), metric.WithAttributes(
				attribute.String("source", source), attribute.String("outcome", outcome), attribute.String("reason", reason)))
		}
	}
	add("emitted", "none", got.Emitted)
	add("duplicate", "known", got.Duplicates)
	for reason, n := range got.Ignored {
		add("ignored", reason, n)
	}
}

// fail answers with the reason and counts it. It never answers with a 2xx.
func (r *changeReceiver) fail(w http.ResponseWriter, req *http.Request, source string, err error) {
	var refused *change.Refused
	if !errors.As(err, &refused) {
		refused = &change.Refused{Reason: change.ReasonMalformed, Detail: "the request cannot be read"}
	}
	r.telemetry.ChangeRefusedRequests.Add(req.Context(), 1, metric.WithAttributes(attribute.String("source", source), attribute.String("reason", refused.Reason)))
	r.log.Debug("request refused", zap.String("source", source), zap.String("reason", refused.Reason))
	status, ok := statusOf[refused.Reason]
	if !ok {
		status = http.StatusBadRequest
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	reply(w, status, &answer{Error: refused.Detail, Reason: refused.Reason})
}

func reply(w http.ResponseWriter, status int, body *answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// Nothing can be done for a client that hung up.
	_ = json.NewEncoder(w).Encode(body)
}
