// SPDX-License-Identifier: Apache-2.0

package changereceiver

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/confmap"

	"github.com/pitwall-io/pitwall/internal/change"
	"github.com/pitwall-io/pitwall/internal/strictconf"
)

// Config is what a user writes under `change:` in the receivers.
type Config struct {
	// ServerConfig holds endpoint, tls, auth, max_request_body_size and the other keys of the Collector's HTTP servers.
	ServerConfig confighttp.ServerConfig `mapstructure:",squash"`
	// Sources are the paths that are served, without the slash.
	Sources []string `mapstructure:"sources"`
	// GitHub says how webhooks of GitHub are checked and read.
	GitHub GitHubConfig `mapstructure:"github"`
	// StandardWebhooks makes signatures a duty on /changes, /cloudevents and /cdevents.
	StandardWebhooks StandardWebhooksConfig `mapstructure:"standard_webhooks"`
	// ServiceNames maps what a tool calls a service (for GitHub: owner/repository) to its service.name.
	ServiceNames map[string]string `mapstructure:"service_names"`
	// RateLimit bounds the requests.
	RateLimit RateLimitConfig `mapstructure:"rate_limit"`
	// MaxAge is how long ago a change may have happened; 0 accepts any.
	MaxAge time.Duration `mapstructure:"max_age"`
	// MaxFuture is how far ahead of the clock a change may be.
	MaxFuture time.Duration `mapstructure:"max_future"`
	// Remember is how many changes are remembered, so that one told twice counts once.
	Remember int `mapstructure:"remember"`
	// Storage is the component id of a storage extension that keeps what is remembered. Without it a restart forgets.
	Storage *component.ID `mapstructure:"storage"`
}

// GitHubConfig says how webhooks of GitHub are checked and read.
type GitHubConfig struct {
	// Secret is the webhook's secret. Without it /github refuses everything.
	Secret configopaque.String `mapstructure:"secret"`
	// Workflows are regular expressions for names or paths of workflows whose runs are deployments.
	Workflows []string `mapstructure:"workflows"`
}

// StandardWebhooksConfig says how signatures of Standard Webhooks are checked.
type StandardWebhooksConfig struct {
	// Secret is whsec_ and the base64 of 24 to 64 bytes. Empty asks for no signature.
	Secret configopaque.String `mapstructure:"secret"`
	// Tolerance is how far the signed time may be from the clock.
	Tolerance time.Duration `mapstructure:"tolerance"`
}

// RateLimitConfig bounds the requests to all paths together.
type RateLimitConfig struct {
	// RequestsPerSecond is the rate in the long run.
	RequestsPerSecond float64 `mapstructure:"requests_per_second"`
	// Burst is how many requests may come at once.
	Burst int `mapstructure:"burst"`
}

// The sources, as they are named in paths, in the configuration and in metrics.
const (
	sourcePlain        = "changes"
	sourceCloudEvents  = "cloudevents"
	sourceCDEvents     = "cdevents"
	sourceGitHub       = "github"
	sourceFlagger      = "flagger"
	sourceArgoCD       = "argocd"
	sourceArgoRollouts = "argo-rollouts"
)

const (
	defaultEndpoint = "localhost:8801"
	defaultBodySize = 1 << 20
	maxBodySize     = 32 << 20
	maxRemember     = 1_000_000
)

var (
	errConfig  = errors.New("invalid configuration")
	allSources = []string{sourcePlain, sourceCloudEvents, sourceCDEvents, sourceGitHub, sourceFlagger, sourceArgoCD, sourceArgoRollouts}
)

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
	case c.ServerConfig.MaxRequestBodySize <= 0 || c.ServerConfig.MaxRequestBodySize > maxBodySize:
		return fmt.Errorf("%w: max_request_body_size must be between 1 and %d (got %d)", errConfig, maxBodySize, c.ServerConfig.MaxRequestBodySize)
	case len(c.Sources) == 0:
		return fmt.Errorf("%w: sources must name at least one of %s", errConfig, strings.Join(allSources, ", "))
	case c.StandardWebhooks.Tolerance < time.Second || c.StandardWebhooks.Tolerance > time.Hour:
		return fmt.Errorf("%w: standard_webhooks::tolerance must be between 1s and 1h (got %s)", errConfig, c.StandardWebhooks.Tolerance)
	case !(c.RateLimit.RequestsPerSecond > 0) || math.IsInf(c.RateLimit.RequestsPerSecond, 0):
		return fmt.Errorf("%w: rate_limit::requests_per_second must be positive (got %v)", errConfig, c.RateLimit.RequestsPerSecond)
	case c.RateLimit.Burst <= 0:
		return fmt.Errorf("%w: rate_limit::burst must be positive (got %d)", errConfig, c.RateLimit.Burst)
	case c.MaxAge < 0:
		return fmt.Errorf("%w: max_age must not be negative (got %s)", errConfig, c.MaxAge)
	case c.MaxFuture < 0:
		return fmt.Errorf("%w: max_future must not be negative (got %s)", errConfig, c.MaxFuture)
	case c.Remember <= 0 || c.Remember > maxRemember:
		return fmt.Errorf("%w: remember must be between 1 and %d (got %d)", errConfig, maxRemember, c.Remember)
	}
	return c.validateTexts()
}

func (c *Config) validateTexts() error {
	for i, source := range c.Sources {
		if !slices.Contains(allSources, source) || slices.Contains(c.Sources[:i], source) {
			return fmt.Errorf("%w: sources: %q is there twice or is not one of %s", errConfig, source, strings.Join(allSources, ", "))
		}
	}
	if _, err := patterns(c.GitHub.Workflows); err != nil {
		return err
	}
	if c.StandardWebhooks.Secret != "" {
		if _, err := change.WebhookKey(string(c.StandardWebhooks.Secret)); err != nil {
			return fmt.Errorf("%w: standard_webhooks::secret: %w", errConfig, err)
		}
	}
	for from, to := range c.ServiceNames {
		if to == "" {
			return fmt.Errorf("%w: service_names: %q has no name", errConfig, from)
		}
	}
	return nil
}

func patterns(texts []string) ([]*regexp.Regexp, error) {
	compiled := make([]*regexp.Regexp, 0, len(texts))
	for _, text := range texts {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%w: github::workflows: %w", errConfig, err)
		}
		compiled = append(compiled, pattern)
	}
	return compiled, nil
}

func createDefaultConfig() component.Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Endpoint = defaultEndpoint
	server.MaxRequestBodySize = defaultBodySize
	return &Config{
		ServerConfig:     server,
		Sources:          slices.Clone(allSources),
		GitHub:           GitHubConfig{Workflows: []string{"(?i)deploy"}},
		StandardWebhooks: StandardWebhooksConfig{Tolerance: 5 * time.Minute},
		RateLimit:        RateLimitConfig{RequestsPerSecond: 50, Burst: 200},
		MaxAge:           24 * time.Hour,
		MaxFuture:        time.Minute,
		Remember:         10_000,
	}
}
