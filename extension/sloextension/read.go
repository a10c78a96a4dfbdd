// SPDX-License-Identifier: Apache-2.0

package sloextension

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.opentelemetry.io/collector/confmap"

	"github.com/pitwall-io/pitwall/internal/slo"
	"github.com/pitwall-io/pitwall/internal/slo/openslo"
)

// inLine is what documents of the configuration itself are called in messages.
const inLine = "openslo"

var (
	errNoFile     = errors.New("files: no file matches")
	errDocument   = errors.New("is neither an OpenSLO document nor a mapping with the key objectives or maintenance")
	errNotRegular = errors.New("is not a regular file")
	errComparison = errors.New("op and value compare the duration of spans, a histogram or a gauge")
	errUnit       = errors.New("unit must be ns, us, ms, s or m beside spans, so that value is a duration")
)

// definitions are the objectives of a configuration and of the files it names.
type definitions struct {
	objectives  []slo.Objective
	maintenance []slo.Maintenance
	warnings    []openslo.Problem
	fingerprint [sha256.Size]byte // of all files
}

// read reads everything anew.
func (c *Config) read() (definitions, error) {
	var d definitions
	for i, oc := range c.Objectives {
		o, err := oc.objective()
		if err != nil {
			return d, fmt.Errorf("objectives[%d] %.64s: %w", i, oc.Name, err)
		}
		d.objectives = append(d.objectives, o)
	}
	for i, mc := range c.Maintenance {
		m, err := mc.maintenance()
		if err != nil {
			return d, fmt.Errorf("maintenance[%d]: %w", i, err)
		}
		d.maintenance = append(d.maintenance, m)
	}
	sources, err := c.sources()
	if err != nil {
		return d, err
	}
	hash := sha256.New()
	var documents []openslo.Document
	var faults []error
	for _, s := range sources {
		_, _ = fmt.Fprintf(hash, "%d %s %d ", len(s.Name), s.Name, len(s.Text))
		_, _ = hash.Write(s.Text)
		split, err := openslo.Split(s)
		faults = append(faults, err)
		for _, document := range split {
			if document.Has("apiVersion") || document.Has("kind") {
				documents = append(documents, document)
				continue
			}
			faults = append(faults, d.readOwn(document))
		}
	}
	hash.Sum(d.fingerprint[:0])
	result, err := openslo.Read(documents)
	faults = append(faults, err)
	for _, definition := range result.Definitions {
		o, err := complete(definition)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", definition.Position, err))
			continue
		}
		d.objectives = append(d.objectives, o)
	}
	d.warnings = result.Warnings
	if err := joined(faults); err != nil {
		return d, err
	}
	if len(d.objectives) == 0 {
		return d, errNoObjectives
	}
	return d, nil
}

// maxFaults is of how many faults is spoken.
const maxFaults = 20

// joined are the first of the faults.
func joined(faults []error) error {
	faults = slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	if n := len(faults); n > maxFaults {
		faults = append(faults[:maxFaults], fmt.Errorf("and %d more", n-maxFaults))
	}
	return errors.Join(faults...)
}

// sources are the documents in line and the files, each once, in order of their names.
func (c *Config) sources() ([]openslo.Source, error) {
	var out []openslo.Source
	if c.OpenSLO != "" {
		out = append(out, openslo.Source{Name: inLine, Text: []byte(c.OpenSLO)})
	}
	var names []string
	for _, pattern := range c.Files {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("files: %q: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%w (got %q)", errNoFile, pattern)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		text, err := readFile(name)
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		out = append(out, openslo.Source{Name: name, Text: text})
	}
	return out, nil
}

// readFile reads a file, or as much of it as says that it is too large.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would never end
		return nil, fmt.Errorf("%s %w", name, errNotRegular)
	}
	file, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, openslo.MaxBytes+1))
}

// readOwn reads a document with objectives or maintenance as the configuration has them.
func (d *definitions) readOwn(document openslo.Document) error {
	var raw map[string]any
	if !document.Has("objectives") && !document.Has("maintenance") {
		return fmt.Errorf("%s: a document %w", document.Position, errDocument)
	}
	if err := document.Node.Decode(&raw); err != nil {
		return fmt.Errorf("%s: %w", document.Position, err)
	}
	var own struct {
		Objectives  []ObjectiveConfig   `mapstructure:"objectives"`
		Maintenance []MaintenanceConfig `mapstructure:"maintenance"`
	}
	if err := confmap.NewFromStringMap(raw).Unmarshal(&own); err != nil {
		return fmt.Errorf("%s: %w", document.Position, err)
	}
	for i, oc := range own.Objectives {
		o, err := oc.objective()
		if err == nil {
			err = o.Validate()
		}
		if err != nil {
			return fmt.Errorf("%s: objectives[%d] %.64s: %w", document.Position, i, oc.Name, err)
		}
		d.objectives = append(d.objectives, o)
	}
	for i, mc := range own.Maintenance {
		m, err := mc.maintenance()
		if err != nil {
			return fmt.Errorf("%s: maintenance[%d]: %w", document.Position, i, err)
		}
		d.maintenance = append(d.maintenance, m)
	}
	return nil
}

// complete makes the indicator of an OpenSLO definition.
func complete(d openslo.Definition) (slo.Objective, error) {
	if d.Spec == nil {
		return d.Objective, nil
	}
	if d.Op != "" {
		if err := compare(d.Spec, d.Op, d.Value); err != nil {
			return d.Objective, err
		}
	}
	var ic IndicatorConfig
	err := confmap.NewFromStringMap(d.Spec).Unmarshal(&ic)
	if err == nil {
		d.Indicator, err = ic.indicator()
	}
	if err == nil {
		err = d.Validate()
	}
	return d.Objective, err
}
