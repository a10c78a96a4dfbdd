// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

// pin does nothing here: only Linux lets a process choose its CPUs.
func pin() []string { return nil }
