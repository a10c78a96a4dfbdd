// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxBody bounds a control request in bytes; the longest sensible one has about a hundred.
const maxBody = 16 << 10

// Listed is one fault as GET /faults shows it.
type Listed struct {
	Name    string         `json:"name"`
	Summary string         `json:"summary"`
	On      bool           `json:"on"`
	Since   *time.Time     `json:"since,omitempty"`
	Params  map[string]any `json:"params"`
}

// Handler serves the switches: GET /faults, POST /faults/{name} with a JSON object of parameters, DELETE /faults/{name}.
// Requests that a browser sends on behalf of another site are refused.
func (s *Set) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", s.list)
	mux.HandleFunc("POST /faults/{name}", s.post)
	mux.HandleFunc("DELETE /faults/{name}", s.delete)
	return http.NewCrossOriginProtection().Handler(localOnly(mux))
}

// localOnly refuses requests under any other name than this machine's own, which a rebound DNS name would bring.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			refuse(w, http.StatusForbidden, fmt.Errorf("host must be localhost (got %q)", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Set) list(w http.ResponseWriter, _ *http.Request) {
	out := struct {
		Faults []Listed `json:"faults"`
	}{Faults: make([]Listed, 0, len(Specs))}
	current := *s.current.Load()
	for _, spec := range Specs {
		listed := Listed{Name: spec.Name, Summary: spec.Summary}
		active, on := current[spec.Name]
		if on {
			listed.On, listed.Since, listed.Params = true, &active.Since, active.Params.plain()
		} else {
			defaults, _ := spec.Resolve(nil)
			listed.Params = defaults.plain()
		}
		out.Faults = append(out.Faults, listed)
	}
	reply(w, http.StatusOK, out)
}

func (s *Set) post(w http.ResponseWriter, r *http.Request) {
	spec, err := Find(r.PathValue("name"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	raw, err := readParams(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	params, err := spec.Resolve(raw)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if err := s.Enable(spec.Name, params); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, http.StatusOK, Listed{Name: spec.Name, Summary: spec.Summary, On: true, Params: params.plain()})
}

func (s *Set) delete(w http.ResponseWriter, r *http.Request) {
	spec, err := Find(r.PathValue("name"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	if err := s.Disable(spec.Name); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readParams reads an optional JSON object; nothing at all means "the defaults".
func readParams(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("the body must be at most %d bytes: %w", maxBody, err)
	}
	if len(body) == 0 {
		return nil, nil
	}
	contentType := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return nil, fmt.Errorf("content-type must be application/json (got %q)", contentType)
	}
	var raw map[string]any
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("the body must be one JSON object: %w", err)
	}
	if raw == nil {
		return nil, errors.New("the body must be one JSON object (got null)")
	}
	return raw, nil
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // the client went away; nobody is left to tell
}

func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, map[string]string{"error": err.Error()})
}
