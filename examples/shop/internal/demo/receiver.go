// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxEvent bounds an event in bytes; an envelope has at most 20,000.
	maxEvent = 256 << 10
	// maxSeen bounds how many deliveries are remembered to tell repetitions.
	maxSeen = 4096
	// eventsPath is where events go.
	eventsPath = "/events"
)

// receiver takes signals as CloudEvents over HTTP.
type receiver struct {
	server *http.Server
	done   chan struct{}
	// got is called for every new signal, one at a time.
	got func(Signal)
	// refused is called for every request that is not a signal.
	refused func(error)

	mu   sync.Mutex
	seen map[string]bool
}

// startReceiver listens until it is stopped.
func startReceiver(address string, got func(Signal), refused func(error)) (*receiver, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("address %s for the receiver of signals is not to be had; choose another by -listen: %w", address, err)
	}
	r := &receiver{done: make(chan struct{}), got: got, refused: refused, seen: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+eventsPath, r.post)
	r.server = &http.Server{Addr: listener.Addr().String(), Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(listener) // always non-nil: the server was shut down
	}()
	return r, nil
}

// url is where senders send.
func (r *receiver) url() string { return "http://" + r.server.Addr + eventsPath }

func (r *receiver) stop(ctx context.Context) error {
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, r.server.Close())
	}
	<-r.done
	return err
}

func (r *receiver) post(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxEvent))
	if err != nil {
		r.refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("an event must be at most %d bytes: %w", maxEvent, err))
		return
	}
	e, err := parseEvent(req.Header.Get("Content-Type"), body)
	if err != nil {
		r.refuse(w, http.StatusBadRequest, err)
		return
	}
	s, err := parseSignal(e)
	if err != nil {
		r.refuse(w, http.StatusBadRequest, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// The specification makes source and id together the identity of an event: a sender that heard no answer sends again.
	if key := e.Source + "\x00" + e.ID; !r.seen[key] {
		if len(r.seen) >= maxSeen {
			clear(r.seen)
		}
		r.seen[key] = true
		r.got(s)
	}
	w.WriteHeader(http.StatusAccepted)
}

func (r *receiver) refuse(w http.ResponseWriter, status int, err error) {
	r.refused(err)
	http.Error(w, err.Error(), status)
}
