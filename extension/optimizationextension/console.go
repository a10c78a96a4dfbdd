// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"embed"
	"net/http"
	"path"
)

// contentSecurityPolicy lets the console load only what the binary itself serves: no inline code, no other host.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed console
var console embed.FS

// mediaTypes are stated here, since the tables of the machine may differ.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

// serveConsole serves one embedded file.
func serveConsole(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := console.ReadFile("console/" + name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
		_, _ = w.Write(data)
	}
}
