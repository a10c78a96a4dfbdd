// SPDX-License-Identifier: Apache-2.0

//go:build pitwall_nopolicies

package policy

import "fmt"

// newCompiler refuses. The language is a tenth of a small binary, and what it registers at the start stays in memory whether there is a
// policy or not.
func newCompiler() (func(expression string) (program, error), error) {
	return nil, fmt.Errorf("%w: this binary is built without policies, as pitwall-sidecar is (tag pitwall_nopolicies): use pitwall", errRule)
}
