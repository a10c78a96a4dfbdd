// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/pitwall-io/pitwall/examples/shop/internal/service"
)

// The doors of the shop, in the order of their ports from the first.
const (
	doorInventoryGRPC = "inventory-grpc"
	doorCanary        = "checkout-canary"
	doorControl       = "control"
)

var doors = []string{
	service.Frontend, service.Cart, service.Checkout, service.Payment, service.Inventory,
	doorInventoryGRPC, doorCanary, service.Recommender, doorControl,
}

// controlOffset is where the control ports of services that run alone begin, from the first port.
const controlOffset = 10

// ports opens listeners and knows every address, including those of services in other processes.
type ports struct {
	mu        sync.Mutex
	addresses map[string]string
	held      map[string]net.Listener
}

// openPorts opens the doors this process serves. With base 0 the system chooses.
func openPorts(config Config) (*ports, error) {
	p := &ports{addresses: map[string]string{}, held: map[string]net.Listener{}}
	for i, door := range doors {
		port := config.Port
		if port != 0 {
			port += i
		}
		if door == doorControl && config.Service != "" {
			port = config.Port + controlOffset + slices.Index(names, config.Service)
		}
		p.addresses[door] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	for _, door := range doors {
		if !serves(config.Service, door) {
			continue
		}
		if err := p.hold(door); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// serves tells whether the process that runs a service (all when empty) has that door.
func serves(name, door string) bool {
	switch {
	case name == "" || door == doorControl:
		return true
	case name == service.Inventory:
		return door == service.Inventory || door == doorInventoryGRPC
	case name == service.Checkout:
		return door == service.Checkout || door == doorCanary
	default:
		return door == name
	}
}

// hold opens a door without serving it.
func (p *ports) hold(door string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	listener, err := net.Listen("tcp", p.addresses[door])
	if err != nil {
		return fmt.Errorf("address %s for %s is not to be had; choose another first port by -port (-shop-port of the demo): %w", p.addresses[door], door, err)
	}
	p.addresses[door] = listener.Addr().String()
	p.held[door] = listener
	return nil
}

// take hands a listener over to the one who serves it.
func (p *ports) take(door string) (net.Listener, error) {
	p.mu.Lock()
	listener, ok := p.held[door]
	delete(p.held, door)
	p.mu.Unlock()
	if ok {
		return listener, nil
	}
	if err := p.hold(door); err != nil {
		return nil, err
	}
	return p.take(door)
}

func (p *ports) address(door string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addresses[door]
}

// close closes what nobody took.
func (p *ports) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, listener := range p.held {
		_ = listener.Close() // nobody is connected to it
	}
	clear(p.held)
}

func (p *ports) peers() service.Peers {
	return service.Peers{
		Cart:           p.address(service.Cart),
		Checkout:       p.address(service.Checkout),
		CheckoutCanary: p.address(doorCanary),
		Payment:        p.address(service.Payment),
		InventoryHTTP:  p.address(service.Inventory),
		InventoryGRPC:  p.address(doorInventoryGRPC),
	}
}

// Addresses returns the host:port of every door by its name.
func (s *Shop) Addresses() map[string]string {
	out := make(map[string]string, len(doors))
	for _, door := range doors {
		out[door] = s.ports.address(door)
	}
	return out
}

// writeAddresses writes the file whole or not at all, so that a reader never finds half of it.
func (s *Shop) writeAddresses(file string) error {
	raw, err := json.MarshalIndent(s.Addresses(), "", "  ")
	if err != nil {
		return fmt.Errorf("writing addr-file: %w", err)
	}
	part := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".part")
	if err := os.WriteFile(part, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing addr-file: %w", err)
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("writing addr-file: %w", err)
	}
	return nil
}
