// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pitwall-io/pitwall/internal/cost/ownership"
)

const tableRows = 10_000

func tableText() string {
	var b strings.Builder
	b.WriteString("service,service.owner.name,service.instance.cost_center.id\n")
	for i := range tableRows {
		fmt.Fprintf(&b, "service-%d,team-%d,cc-%d\n", i, i%100, i%40)
	}
	return b.String()
}

func TestALookupIn10000RowsAndACacheHitDoNotAllocate(t *testing.T) {
	owners := table(t, tableText(), true, "service")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = owners.Lookup("Service-9999")
	}))
	c := ownership.NewCache[*ownership.Resolution](1000, 1<<20)
	key := []byte("service.name=checkout")
	c.Put(key, &ownership.Resolution{})
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = c.Get(key) }))
}

func BenchmarkLookup(b *testing.B) {
	owners, err := ownership.ReadTable(strings.NewReader(tableText()), ownership.TableSettings{Name: "owners", Format: ownership.CSV, Key: []string{"service"}})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = owners.Lookup("service-7777")
	}
}

func BenchmarkResolveUncached(b *testing.B) {
	owners, err := ownership.ReadTable(strings.NewReader(tableText()), ownership.TableSettings{Name: "owners", Format: ownership.CSV, Key: []string{"service"}})
	require.NoError(b, err)
	r, err := ownership.NewResolver(ownership.Settings{
		Aliases:  map[string][]string{costCenter: {"CostCenter"}},
		Rules:    []ownership.Rule{{Name: "table", Lookup: &ownership.Lookup{Table: "owners", Key: []string{"service.name"}}}},
		Required: []string{owner},
	}, map[string]*ownership.Table{"owners": owners})
	require.NoError(b, err)
	attrs := attributes{"service.name": "service-7777", "service.namespace": "shop", "host.name": "a", "k8s.pod.name": "x-1"}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Resolve(attrs)
	}
}

// BenchmarkReload is the work of one reload of a 10,000-row table: read, check, index.
func BenchmarkReload(b *testing.B) {
	text := tableText()
	b.ReportAllocs()
	for b.Loop() {
		_, err := ownership.ReadTable(strings.NewReader(text), ownership.TableSettings{Name: "owners", Format: ownership.CSV, Key: []string{"service"}})
		require.NoError(b, err)
	}
}
