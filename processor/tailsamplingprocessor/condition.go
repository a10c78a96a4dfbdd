// SPDX-License-Identifier: Apache-2.0

package tailsamplingprocessor

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspan"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/contexts/ottlspanevent"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl/ottlfuncs"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
)

var errNoConditions = errors.New("expected at least one OTTL condition to filter on")

// condition is an ottl_condition policy. It may be evaluated from several goroutines.
type condition struct {
	span  *ottl.ConditionSequence[*ottlspan.TransformContext]
	event *ottl.ConditionSequence[*ottlspanevent.TransformContext]
}

func newCondition(cfg *OTTLConditionConfig, settings component.TelemetrySettings) (*condition, error) {
	if len(cfg.SpanConditions)+len(cfg.SpanEventConditions) == 0 {
		return nil, errNoConditions
	}
	c := &condition{}
	if len(cfg.SpanConditions) > 0 {
		functions := ottlfuncs.StandardConverters[*ottlspan.TransformContext]()
		isRoot := ottlfuncs.NewIsRootSpanFactory()
		functions[isRoot.Name()] = isRoot
		parser, err := ottlspan.NewParser(functions, settings, ottlspan.EnablePathContextNames())
		if err != nil {
			return nil, fmt.Errorf("span conditions: %w", err)
		}
		c.span, err = parseConditions(ottlspan.ContextName, &parser, cfg.SpanConditions, settings,
			func(parsed []*ottl.Condition[*ottlspan.TransformContext]) ottl.ConditionSequence[*ottlspan.TransformContext] {
				return ottlspan.NewConditionSequence(parsed, settings, ottlspan.WithConditionSequenceErrorMode(cfg.ErrorMode))
			})
		if err != nil {
			return nil, fmt.Errorf("span conditions: %w", err)
		}
	}
	if len(cfg.SpanEventConditions) > 0 {
		functions := ottlfuncs.StandardConverters[*ottlspanevent.TransformContext]()
		parser, err := ottlspanevent.NewParser(functions, settings, ottlspanevent.EnablePathContextNames())
		if err != nil {
			return nil, fmt.Errorf("spanevent conditions: %w", err)
		}
		c.event, err = parseConditions(ottlspanevent.ContextName, &parser, cfg.SpanEventConditions, settings,
			func(parsed []*ottl.Condition[*ottlspanevent.TransformContext]) ottl.ConditionSequence[*ottlspanevent.TransformContext] {
				return ottlspanevent.NewConditionSequence(parsed, settings, ottlspanevent.WithConditionSequenceErrorMode(cfg.ErrorMode))
			})
		if err != nil {
			return nil, fmt.Errorf("spanevent conditions: %w", err)
		}
	}
	return c, nil
}

// parseConditions accepts paths with and without the name of their context; without, they are those of the named one.
func parseConditions[K any](name string, parser *ottl.Parser[K], conditions []string, settings component.TelemetrySettings,
	sequence func([]*ottl.Condition[K]) ottl.ConditionSequence[K],
) (*ottl.ConditionSequence[K], error) {
	type result = *ottl.ConditionSequence[K]
	convert := func(_ *ottl.ParserCollection[result], _ ottl.ConditionsGetter, parsed []*ottl.Condition[K]) (result, error) {
		s := sequence(parsed)
		return &s, nil
	}
	collection, err := ottl.NewParserCollection(settings, ottl.WithParserCollectionContext(name, parser, ottl.WithConditionConverter(convert)))
	if err != nil {
		return nil, fmt.Errorf("preparing the OTTL parser: %w", err)
	}
	parsed, err := collection.ParseConditionsWithContext(name, ottl.NewConditionsGetter(conditions), true)
	if err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	return parsed, nil
}

// conditionsOf evaluates conditions over one request.
type conditionsOf struct {
	conditions []*condition
	traces     ptrace.Traces
	ctx        context.Context
	logger     *zap.Logger
}

// Match implements sampling.Conditions: a span that meets a span condition, or one of whose events meets an event condition.
func (c *conditionsOf) Match(index, resource, scope, span int) (bool, error) {
	rs := c.traces.ResourceSpans().At(resource)
	ss := rs.ScopeSpans().At(scope)
	s := ss.Spans().At(span)
	matched, err := c.conditions[index].matches(c.ctx, rs, ss, s)
	if err != nil {
		c.logger.Debug("Sampling policy error", zap.Error(err))
	}
	return matched, err
}

func (c *condition) matches(ctx context.Context, rs ptrace.ResourceSpans, ss ptrace.ScopeSpans, span ptrace.Span) (bool, error) {
	if c.span != nil {
		tctx := ottlspan.NewTransformContextPtr(rs, ss, span)
		matched, err := c.span.Eval(ctx, tctx)
		tctx.Close()
		if matched || err != nil {
			return matched, err
		}
	}
	if c.event == nil {
		return false, nil
	}
	events := span.Events()
	for i := range events.Len() {
		tctx := ottlspanevent.NewTransformContextPtr(rs, ss, span, events.At(i))
		matched, err := c.event.Eval(ctx, tctx)
		tctx.Close()
		if matched || err != nil {
			return matched, err
		}
	}
	return false, nil
}
