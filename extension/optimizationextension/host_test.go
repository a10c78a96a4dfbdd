// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAServerOnLoopbackAnswersToItsOwnNamesOnly(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint, host string
		allowed        []string
		want           int
	}{
		"localhost":                  {endpoint: "localhost:8800", host: "localhost:8800", want: http.StatusOK},
		"another port, as forwarded": {endpoint: "localhost:8800", host: "LOCALHOST:9", want: http.StatusOK},
		"IPv4":                       {endpoint: "127.0.0.1:8800", host: "127.0.0.1", want: http.StatusOK},
		"IPv6":                       {endpoint: "[::1]:8800", host: "[::1]:8800", want: http.StatusOK},
		"IPv6 without a port":        {endpoint: "[::1]:8800", host: "[::1]", want: http.StatusOK},
		"a page's own name":          {endpoint: "localhost:8800", host: "attacker.example:8800", want: http.StatusMisdirectedRequest},
		"a name that begins alike":   {endpoint: "localhost:8800", host: "localhost.attacker.example", want: http.StatusMisdirectedRequest},
		"none":                       {endpoint: "localhost:8800", host: "", want: http.StatusMisdirectedRequest},
		"allowed":                    {endpoint: "localhost:8800", host: "pitwall.example", allowed: []string{"Pitwall.example"}, want: http.StatusOK},
		"not on loopback":            {endpoint: "0.0.0.0:8800", host: "pitwall.example", want: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := start(t, nil, func(cfg *Config) { cfg.AllowedHosts = c.allowed })
			e.cfg.ServerConfig.NetAddr.Endpoint = c.endpoint
			for _, path := range []string{"/", "/api/v1/signals", "/../../etc/passwd"} {
				request := httptest.NewRequest(http.MethodGet, "/", nil)
				request.URL.Path, request.Host = path, c.host
				response := httptest.NewRecorder()
				e.handler().ServeHTTP(response, request)
				if c.want == http.StatusOK && path == "/../../etc/passwd" {
					assert.NotEqual(t, http.StatusOK, response.Code)
					continue
				}
				assert.Equal(t, c.want, response.Code, path)
			}
		})
	}
}
