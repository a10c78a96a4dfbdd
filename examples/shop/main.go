// SPDX-License-Identifier: Apache-2.0

// The shop is a small web shop with real traffic, real telemetry and faults to switch on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/pitwall-io/pitwall/examples/shop/internal/shop"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 after a clean stop, 1 when something failed, 2 when the command line is wrong.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config := shop.Default()
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.SetOutput(errOut)
	config.Flags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	err := config.Validate()
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(errOut, "shop:", err)
		return 2
	}
	if err := shop.Run(ctx, config, out); err != nil {
		fmt.Fprintln(errOut, "shop:", err)
		return 1
	}
	return 0
}
