// SPDX-License-Identifier: Apache-2.0

package replayreceiver

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

func TestEveryConfigurationInTheReadmeIsValid(t *testing.T) {
	blocks := strings.Split(read(t, "README.md"), "```yaml\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		retrieved, err := confmap.NewRetrievedFromYAML([]byte(block[:strings.Index(block, "```")]))
		require.NoError(t, err)
		conf, err := retrieved.AsConf()
		require.NoError(t, err)
		section, err := conf.Sub("receivers::replay")
		require.NoError(t, err)
		cfg := createDefaultConfig()
		require.NoError(t, section.Unmarshal(cfg))
		require.NoError(t, cfg.Validate())
	}
}

func TestReadmeNamesEveryKeyWithItsDefault(t *testing.T) {
	readme := read(t, "README.md")
	var check func(v reflect.Value, prefix string)
	check = func(v reflect.Value, prefix string) {
		for i := range v.NumField() {
			key := prefix + v.Type().Field(i).Tag.Get("mapstructure")
			value := v.Field(i)
			switch value.Kind() {
			case reflect.Struct:
				check(value, key+"::")
				continue
			case reflect.Slice:
				assert.Contains(t, readme, "`"+key+"`")
				continue
			}
			text := fmt.Sprint(value)
			if d, ok := value.Interface().(time.Duration); ok {
				text = strings.Replace(d.String(), "h0m0s", "h", 1)
			}
			assert.Contains(t, readme, "| `"+key+"` | `"+text+"`")
		}
	}
	check(reflect.ValueOf(*createDefaultConfig()), "")
}

func TestReadmeNamesEveryReason(t *testing.T) {
	readme := read(t, "README.md")
	for _, why := range []reason{
		reasonBrokenRecord, reasonCorruptFile, reasonEmptyRecord, reasonNoPipeline, reasonOpenFailed, reasonRecordTooLong,
		reasonShutdown, reasonTruncatedFile, reasonWrongSignal,
	} {
		assert.Contains(t, readme, "`"+string(why)+"`")
		assert.Contains(t, read(t, "metadata.yaml"), string(why))
	}
}
