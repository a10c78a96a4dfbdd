// SPDX-License-Identifier: Apache-2.0

// Package condition compiles OTTL conditions on spans, log records and data points.
package condition

import (
	"fmt"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottldatapoint"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottllog"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component"
)

// Compiled conditions. They may be evaluated from several goroutines.
type (
	// Span is a condition on spans.
	Span = ottl.Condition[*ottlspan.TransformContext]
	// Log is a condition on log records.
	Log = ottl.Condition[*ottllog.TransformContext]
	// Point is a condition on data points.
	Point = ottl.Condition[*ottldatapoint.TransformContext]
)

// ForSpans compiles a condition on spans; none where text is empty. Paths may leave out the name of their context.
func ForSpans(text string, settings component.TelemetrySettings) (*Span, error) {
	if text == "" {
		return nil, nil
	}
	functions := ottlfuncs.StandardConverters[*ottlspan.TransformContext]()
	isRoot := ottlfuncs.NewIsRootSpanFactory()
	functions[isRoot.Name()] = isRoot
	parser, err := ottlspan.NewParser(functions, settings, ottlspan.EnablePathContextNames())
	return compile(ottlspan.ContextName, &parser, err, text, settings)
}

// ForLogs compiles a condition on log records; none where text is empty.
func ForLogs(text string, settings component.TelemetrySettings) (*Log, error) {
	if text == "" {
		return nil, nil
	}
	functions := ottlfuncs.StandardConverters[*ottllog.TransformContext]()
	parser, err := ottllog.NewParser(functions, settings, ottllog.EnablePathContextNames())
	return compile(ottllog.ContextName, &parser, err, text, settings)
}

// ForPoints compiles a condition on data points; none where text is empty.
func ForPoints(text string, settings component.TelemetrySettings) (*Point, error) {
	if text == "" {
		return nil, nil
	}
	functions := ottlfuncs.StandardConverters[*ottldatapoint.TransformContext]()
	parser, err := ottldatapoint.NewParser(functions, settings, ottldatapoint.EnablePathContextNames())
	return compile(ottldatapoint.ContextName, &parser, err, text, settings)
}

func compile[K any](name string, parser *ottl.Parser[K], err error, text string, settings component.TelemetrySettings) (*ottl.Condition[K], error) {
	if err != nil {
		return nil, fmt.Errorf("prepare the OTTL parser of %s: %w", name, err)
	}
	type result = *ottl.Condition[K]
	first := func(_ *ottl.ParserCollection[result], _ ottl.ConditionsGetter, parsed []*ottl.Condition[K]) (result, error) {
		return parsed[0], nil
	}
	collection, err := ottl.NewParserCollection(settings, ottl.WithParserCollectionContext(name, parser, ottl.WithConditionConverter(first)))
	if err != nil {
		return nil, fmt.Errorf("prepare the OTTL parser of %s: %w", name, err)
	}
	condition, err := collection.ParseConditionsWithContext(name, ottl.NewConditionsGetter([]string{text}), true)
	if err != nil {
		return nil, fmt.Errorf("condition %q: %w", text, err)
	}
	return condition, nil
}
