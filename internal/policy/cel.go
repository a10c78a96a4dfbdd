// SPDX-License-Identifier: Apache-2.0

//go:build !pitwall_nopolicies

package policy

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
)

var errNotBool = errors.New("the expression must give a bool")

// newCompiler returns what compiles expressions over the variables that Decide gives.
func newCompiler() (func(expression string) (program, error), error) {
	env, err := cel.NewEnv(
		cel.Variable("signal", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("context", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("now", cel.TimestampType),
	)
	if err != nil {
		return nil, fmt.Errorf("policy environment: %w", err)
	}
	return func(expression string) (program, error) {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		if ast.OutputType() != cel.BoolType && ast.OutputType() != cel.DynType {
			return nil, fmt.Errorf("%w, not %s", errNotBool, ast.OutputType())
		}
		p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost))
		return celProgram{p}, err
	}, nil
}

type celProgram struct{ cel.Program }

func (p celProgram) holds(variables map[string]any) (bool, error) {
	out, _, err := p.Eval(variables)
	if err != nil {
		return false, fmt.Errorf("evaluate: %w", err)
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, errNotBool
	}
	return holds, nil
}
