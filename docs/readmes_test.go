// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/pitwall-io/pitwall/connector/optimizerconnector"
	"github.com/pitwall-io/pitwall/connector/sloconnector"
	"github.com/pitwall-io/pitwall/exporter/optimizationexporter"
	"github.com/pitwall-io/pitwall/extension/optimizationextension"
	"github.com/pitwall-io/pitwall/extension/sloextension"
	"github.com/pitwall-io/pitwall/processor/cardinalityprocessor"
	"github.com/pitwall-io/pitwall/processor/costprocessor"
	"github.com/pitwall-io/pitwall/processor/sliprocessor"
	"github.com/pitwall-io/pitwall/processor/tailsamplingprocessor"
	"github.com/pitwall-io/pitwall/receiver/changereceiver"
	"github.com/pitwall-io/pitwall/receiver/focusreceiver"
	"github.com/pitwall-io/pitwall/receiver/replayreceiver"
)

// components are all of ours, by their folder.
var components = map[string]component.Factory{
	"receiver/changereceiver":         changereceiver.NewFactory(),
	"receiver/focusreceiver":          focusreceiver.NewFactory(),
	"receiver/replayreceiver":         replayreceiver.NewFactory(),
	"processor/cardinalityprocessor":  cardinalityprocessor.NewFactory(),
	"processor/costprocessor":         costprocessor.NewFactory(),
	"processor/sliprocessor":          sliprocessor.NewFactory(),
	"processor/tailsamplingprocessor": tailsamplingprocessor.NewFactory(),
	"connector/optimizerconnector":    optimizerconnector.NewFactory(),
	"connector/sloconnector":          sloconnector.NewFactory(),
	"exporter/optimizationexporter":   optimizationexporter.NewFactory(),
	"extension/optimizationextension": optimizationextension.NewFactory(),
	"extension/sloextension":          sloextension.NewFactory(),
}

var (
	yamlFence = regexp.MustCompile("(?s)```ya?ml[^\n]*\n(.*?)```")
	anyFence  = regexp.MustCompile("(?s)```.*?```")
	codeSpan  = regexp.MustCompile("`([^`\n]+)`")
	word      = regexp.MustCompile(`\w+`)
)

func TestEveryComponentIsListedHere(t *testing.T) {
	folders, err := filepath.Glob("../*/*/metadata.yaml")
	require.NoError(t, err)
	require.Len(t, components, len(folders))
	for _, folder := range folders {
		assert.Contains(t, components, strings.TrimPrefix(filepath.ToSlash(filepath.Dir(folder)), "../"))
	}
}

func TestEveryReadmeNamesEveryKey(t *testing.T) {
	for folder, factory := range components {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			page := readme(t, folder)
			named := map[string]bool{}
			spans := codeSpan.FindAllStringSubmatch(anyFence.ReplaceAllString(page, ""), -1)
			for _, code := range append(spans, yamlFence.FindAllStringSubmatch(page, -1)...) {
				for _, name := range word.FindAllString(code[1], -1) {
					named[name] = true
				}
			}
			seen := map[reflect.Type]bool{}
			var walk func(at string, typ reflect.Type)
			walk = func(at string, typ reflect.Type) {
				switch typ.Kind() {
				case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
					walk(at, typ.Elem())
					return
				case reflect.Struct:
				default:
					return
				}
				// What upstream defines, upstream documents.
				if seen[typ] || !strings.HasPrefix(typ.PkgPath(), "github.com/pitwall-io/pitwall/") {
					return
				}
				seen[typ] = true
				for field := range typ.Fields() {
					key, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
					switch {
					case key == "-" || !field.IsExported():
					case strings.Contains(options, "squash"):
						walk(at, field.Type)
					case key != "":
						if !named[key] {
							t.Errorf("the page does not name the key %s%s", at, key)
						}
						walk(at+key+"::", field.Type)
					}
				}
			}
			walk("", reflect.TypeOf(factory.CreateDefaultConfig()))
		})
	}
}

func TestTheConfigurationsInTheReadmesAreValid(t *testing.T) {
	sections := map[string]string{"receiver": "receivers", "processor": "processors", "connector": "connectors", "exporter": "exporters", "extension": "extensions"}
	for folder, factory := range components {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			section := sections[filepath.Dir(folder)]
			checked := 0
			for _, block := range yamlFence.FindAllStringSubmatch(readme(t, folder), -1) {
				retrieved, err := confmap.NewRetrievedFromYAML([]byte(block[1]))
				require.NoError(t, err)
				conf, err := retrieved.AsConf()
				if err != nil { // a list or a text: not a configuration
					continue
				}
				all, err := conf.Sub(section)
				require.NoError(t, err)
				for id, value := range all.ToStringMap() {
					if name, _, _ := strings.Cut(id, "/"); name != factory.Type().String() {
						continue
					}
					settings, _ := value.(map[string]any)
					cfg := factory.CreateDefaultConfig()
					require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg), block[1])
					require.NoError(t, confmap.Validate(cfg), block[1])
					checked++
				}
			}
			assert.Positive(t, checked, "the page shows no configuration")
		})
	}
}

func readme(t *testing.T, folder string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", folder, "README.md"))
	require.NoError(t, err)
	return string(page)
}
