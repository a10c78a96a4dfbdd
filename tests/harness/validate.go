// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Validate runs a binary's validate command over configurations merged in order,
// from the repository's root and with none of the caller's variables, so that a
// configuration that only works with some set is found out.
func Validate(t testing.TB, binary string, configs ...string) error {
	t.Helper()
	arguments := []string{"validate"}
	for _, config := range configs {
		arguments = append(arguments, "--config", config)
	}
	cmd := exec.CommandContext(t.Context(), binary, arguments...)
	cmd.Dir = Root(t)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
