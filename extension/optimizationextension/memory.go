// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"context"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// memoryClient keeps the ledger where no storage is configured. The ledger bounds it.
type memoryClient struct{ values map[string][]byte }

func newMemoryClient() storage.Client { return &memoryClient{values: map[string][]byte{}} }

func (c *memoryClient) Get(_ context.Context, key string) ([]byte, error) { return c.values[key], nil }

func (c *memoryClient) Set(_ context.Context, key string, value []byte) error {
	c.values[key] = value
	return nil
}

func (c *memoryClient) Delete(_ context.Context, key string) error {
	delete(c.values, key)
	return nil
}

func (c *memoryClient) Batch(_ context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = c.values[op.Key]
		case storage.Set:
			c.values[op.Key] = op.Value
		case storage.Delete:
			delete(c.values, op.Key)
		}
	}
	return nil
}

func (*memoryClient) Close(context.Context) error { return nil }
