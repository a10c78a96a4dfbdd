// SPDX-License-Identifier: Apache-2.0

package optimizationexporter

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/pitwall-io/pitwall/internal/strictconf"
)

// Config is what a user writes under `optimization:` in the exporters. At least one sink must be set.
type Config struct {
	// TimeoutConfig bounds one attempt to deliver a batch.
	TimeoutConfig exporterhelper.TimeoutConfig `mapstructure:",squash"`
	// QueueConfig holds signals while a sink is slow; with `storage` they survive a restart.
	QueueConfig configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
	// RetryConfig says how long and how often a signal is offered again.
	RetryConfig configretry.BackOffConfig `mapstructure:"retry_on_failure"`

	// CloudEvents posts each signal as a CloudEvent.
	CloudEvents configoptional.Optional[CloudEventsConfig] `mapstructure:"cloudevents"`
	// Alertmanager posts signals as alerts and repeats those that fire.
	Alertmanager configoptional.Optional[AlertmanagerConfig] `mapstructure:"alertmanager"`
	// File appends each signal as one line of JSON.
	File configoptional.Optional[FileConfig] `mapstructure:"file"`
}

// CloudEventsConfig configures the webhook.
type CloudEventsConfig struct {
	// ClientConfig holds endpoint, tls, auth, headers and the other keys of the Collector's HTTP clients.
	ClientConfig confighttp.ClientConfig `mapstructure:",squash"`
	// Source is the source attribute of every event: a URI reference that names this sender.
	Source string `mapstructure:"source"`
	// Secret, when set, signs each request as the Standard Webhooks specification says: `whsec_` and 24 to 64 bytes in base64.
	Secret configopaque.String `mapstructure:"secret"`
}

// AlertmanagerConfig configures the Alertmanager sink.
type AlertmanagerConfig struct {
	// ClientConfig holds endpoint (Alertmanager's base URL), tls, auth, headers and the other keys of the Collector's HTTP clients.
	ClientConfig confighttp.ClientConfig `mapstructure:",squash"`
	// GeneratorURL is the link that alerts carry back to this sender.
	GeneratorURL string `mapstructure:"generator_url"`
	// ResendInterval is how often alerts that fire are sent again. It must be below resolve_timeout.
	ResendInterval time.Duration `mapstructure:"resend_interval"`
	// ResolveTimeout is how long an alert lasts at Alertmanager when nothing more is heard of it.
	ResolveTimeout time.Duration `mapstructure:"resolve_timeout"`
	// MaxActive bounds the alerts that are remembered in order to send them again. Those beyond are sent once and counted on to last
	// for resolve_timeout.
	MaxActive int `mapstructure:"max_active"`
}

// FileConfig configures the file sink.
type FileConfig struct {
	// Path is the file that is appended to. It is made, readable by its owner only, if it is not there.
	Path string `mapstructure:"path"`
	// MaxBytes is the size at which the file is renamed to <path>.1, in place of an older one, and begun anew.
	MaxBytes int64 `mapstructure:"max_bytes"`
}

const (
	defaultSource         = "/pitwall"
	defaultMaxElapsed     = time.Hour
	defaultTimeout        = 15 * time.Second
	defaultFileBytes      = 100 << 20
	minFileBytes          = 64 << 10
	defaultResendInterval = time.Minute
	defaultResolveTimeout = 5 * time.Minute
	defaultMaxActive      = 10_000
)

var errConfig = errors.New("invalid configuration")

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ confmap.Unmarshaler = (*CloudEventsConfig)(nil)
	_ confmap.Unmarshaler = (*AlertmanagerConfig)(nil)
)

// Unmarshal refuses keys that nothing reads, as those of its members do; squashed members would let them through.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return unmarshalStrictly(conf, c) }

// Unmarshal refuses keys that nothing reads.
func (c *CloudEventsConfig) Unmarshal(conf *confmap.Conf) error { return unmarshalStrictly(conf, c) }

// Unmarshal refuses keys that nothing reads.
func (c *AlertmanagerConfig) Unmarshal(conf *confmap.Conf) error { return unmarshalStrictly(conf, c) }

func unmarshalStrictly(conf *confmap.Conf, into any) error {
	if err := conf.Unmarshal(into); err != nil {
		return err
	}
	return strictconf.Check(conf.ToStringMap(), into)
}

// Validate reports the first key whose value cannot be used.
func (c *Config) Validate() error {
	if !c.CloudEvents.HasValue() && !c.File.HasValue() && !c.Alertmanager.HasValue() {
		return fmt.Errorf("%w: at least one of cloudevents, alertmanager and file must be set", errConfig)
	}
	return nil
}

// Validate reports the first key whose value cannot be used.
func (c *CloudEventsConfig) Validate() error {
	if err := checkEndpoint("cloudevents::endpoint", c.ClientConfig.Endpoint); err != nil {
		return err
	}
	if _, err := url.Parse(c.Source); err != nil || c.Source == "" {
		return fmt.Errorf("%w: cloudevents::source must be a URI reference (got %q)", errConfig, c.Source)
	}
	if c.Secret != "" {
		if _, err := decodeSecret(string(c.Secret)); err != nil {
			return fmt.Errorf("%w: cloudevents::secret: %w", errConfig, err)
		}
	}
	return nil
}

// Validate reports the first key whose value cannot be used.
func (c *AlertmanagerConfig) Validate() error {
	if err := checkEndpoint("alertmanager::endpoint", c.ClientConfig.Endpoint); err != nil {
		return err
	}
	switch {
	case c.ResendInterval <= 0:
		return fmt.Errorf("%w: alertmanager::resend_interval must be positive (got %s)", errConfig, c.ResendInterval)
	case c.ResolveTimeout <= c.ResendInterval:
		return fmt.Errorf("%w: alertmanager::resolve_timeout must be above resend_interval (got %s, %s)", errConfig, c.ResolveTimeout, c.ResendInterval)
	case c.MaxActive <= 0:
		return fmt.Errorf("%w: alertmanager::max_active must be positive (got %d)", errConfig, c.MaxActive)
	}
	return nil
}

// Validate reports the first key whose value cannot be used.
func (c *FileConfig) Validate() error {
	switch {
	case c.Path == "":
		return fmt.Errorf("%w: file::path must not be empty", errConfig)
	case c.MaxBytes < minFileBytes:
		return fmt.Errorf("%w: file::max_bytes must be at least %d (got %d)", errConfig, minFileBytes, c.MaxBytes)
	}
	return nil
}

func checkEndpoint(key, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%w: %s must be an http or https URL (got %q)", errConfig, key, endpoint)
	}
	return nil
}

func createDefaultConfig() component.Config {
	timeout := exporterhelper.NewDefaultTimeoutConfig()
	timeout.Timeout = defaultTimeout
	// One consumer keeps the envelopes of a signal in order.
	queue := exporterhelper.NewDefaultQueueConfig()
	queue.NumConsumers = 1
	// A receiver may be away for as long as an incident lasts; what follows a signal waits behind it, so not for ever.
	retry := configretry.NewDefaultBackOffConfig()
	retry.MaxElapsedTime = defaultMaxElapsed
	return &Config{
		TimeoutConfig: timeout,
		QueueConfig:   configoptional.Some(queue),
		RetryConfig:   retry,
		CloudEvents: configoptional.Default(CloudEventsConfig{
			ClientConfig: confighttp.NewDefaultClientConfig(),
			Source:       defaultSource,
		}),
		Alertmanager: configoptional.Default(AlertmanagerConfig{
			ClientConfig:   confighttp.NewDefaultClientConfig(),
			ResendInterval: defaultResendInterval,
			ResolveTimeout: defaultResolveTimeout,
			MaxActive:      defaultMaxActive,
		}),
		File: configoptional.Default(FileConfig{MaxBytes: defaultFileBytes}),
	}
}
