// SPDX-License-Identifier: Apache-2.0

package optimizationextension

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/confmap"

	"github.com/pitwall-io/pitwall/internal/signal"
	"github.com/pitwall-io/pitwall/internal/strictconf"
)

// Config is what a user writes under `optimization:` in the extensions.
type Config struct {
	// ServerConfig holds endpoint, tls, auth and the other keys of the Collector's HTTP servers.
	ServerConfig confighttp.ServerConfig `mapstructure:",squash"`
	// AllowedHosts are further names in the Host header to which a server on a loopback endpoint answers, for a proxy on the same machine
	// that passes the name on. Without it such a server answers to localhost and loopback addresses only.
	AllowedHosts []string `mapstructure:"allowed_hosts"`
	// Storage is the component id of a storage extension that keeps the ledger. Without it the ledger lives in memory and begins
	// anew with every start.
	Storage *component.ID `mapstructure:"storage"`
	// Board bounds what components publish.
	Board BoardConfig `mapstructure:"board"`
	// Ledger bounds the record of signals.
	Ledger LedgerConfig `mapstructure:"ledger"`
	// Console switches the web console at / on.
	Console bool `mapstructure:"console"`
}

// BoardConfig bounds the board.
type BoardConfig struct {
	// MaxBytes is the size the board may have. When it is full, ended signals are forgotten, oldest first; if that is not enough,
	// publications are refused and counted.
	MaxBytes int `mapstructure:"max_bytes"`
}

// LedgerConfig bounds the ledger.
type LedgerConfig struct {
	// MaxRecords is how many records are kept; the oldest go first.
	MaxRecords int `mapstructure:"max_records"`
}

const (
	defaultEndpoint   = "localhost:8800"
	defaultBoardBytes = 16 << 20
	minBoardBytes     = 4 * signal.MaxBytes
	defaultRecords    = 10_000
	maxRecordsLimit   = 1_000_000
)

var errConfig = errors.New("invalid configuration")

var _ confmap.Unmarshaler = (*Config)(nil)

// Unmarshal refuses keys that nothing reads, which the squashed server settings would let through.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return err
	}
	return strictconf.Check(conf.ToStringMap(), c)
}

// Validate reports the first key whose value cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.ServerConfig.NetAddr.Endpoint == "":
		return fmt.Errorf("%w: endpoint must not be empty", errConfig)
	case c.Board.MaxBytes < minBoardBytes:
		return fmt.Errorf("%w: board::max_bytes must be at least %d (got %d)", errConfig, minBoardBytes, c.Board.MaxBytes)
	case c.Ledger.MaxRecords <= 0 || c.Ledger.MaxRecords > maxRecordsLimit:
		return fmt.Errorf("%w: ledger::max_records must be between 1 and %d (got %d)", errConfig, maxRecordsLimit, c.Ledger.MaxRecords)
	}
	return nil
}

func createDefaultConfig() component.Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Endpoint = defaultEndpoint
	return &Config{
		ServerConfig: server,
		Board:        BoardConfig{MaxBytes: defaultBoardBytes},
		Ledger:       LedgerConfig{MaxRecords: defaultRecords},
		Console:      true,
	}
}
