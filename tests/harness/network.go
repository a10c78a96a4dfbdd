// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports come from below the range that the kernel takes for outgoing
// connections, so that nothing else on this machine picks one between its
// choice and its use.
const (
	portLow  = 20000
	portHigh = 32000
)

var (
	portsMu sync.Mutex
	ports   = map[int]bool{}
)

// FreeAddress returns a loopback address nobody listens on. No two calls in one
// process return the same.
func FreeAddress() (string, error) {
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 1000 {
		port := portLow + rand.IntN(portHigh-portLow)
		if ports[port] {
			continue
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		listener.Close()
		ports[port] = true
		return address, nil
	}
	return "", fmt.Errorf("no free port between %d and %d", portLow, portHigh)
}

// Address is FreeAddress for a test.
func Address(t testing.TB) string {
	t.Helper()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
