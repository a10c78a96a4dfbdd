// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// ObserveProcess reports the process as a whole, its Go runtime, CPU time and memory, as this service's. It belongs to one service a
// process: memory and CPU time are the process's, whoever used them.
func (t *Telemetry) ObserveProcess() error {
	if err := runtime.Start(runtime.WithMeterProvider(t.Meters)); err != nil {
		return fmt.Errorf("runtime metrics: %w", err)
	}
	meter := t.Meter()
	cpu, err := meter.Float64ObservableCounter("process.cpu.time", metric.WithUnit("s"),
		metric.WithDescription("Total CPU seconds broken down by different states."))
	if err != nil {
		return fmt.Errorf("process.cpu.time: %w", err)
	}
	memory, err := meter.Int64ObservableUpDownCounter("process.memory.usage", metric.WithUnit("By"),
		metric.WithDescription("The amount of physical memory in use."))
	if err != nil {
		return fmt.Errorf("process.memory.usage: %w", err)
	}
	user := metric.WithAttributes(attribute.String("cpu.mode", "user"))
	system := metric.WithAttributes(attribute.String("cpu.mode", "system"))
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			return fmt.Errorf("CPU time: %w", err)
		}
		o.ObserveFloat64(cpu, seconds(usage.Utime), user)
		o.ObserveFloat64(cpu, seconds(usage.Stime), system)
		if resident, ok := residentBytes(); ok {
			o.ObserveInt64(memory, resident)
		}
		return nil
	}, cpu, memory)
	if err != nil {
		return fmt.Errorf("process metrics: %w", err)
	}
	return nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// residentBytes reads the resident memory where the kernel tells it under /proc; elsewhere the metric stays away.
func residentBytes() (int64, bool) {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
