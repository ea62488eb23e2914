// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sallyport-dev/sallyport/test/es"
)

// store is the demo's Elasticsearch. It starts in the background, which takes a while, and is waited for when it is
// needed.
type store struct {
	dir    string
	ready  chan struct{} // closed when server or err is set
	cancel context.CancelFunc
	server *es.Server
	key    string // file
	err    error
}

func startStore(dir string) *store {
	ctx, cancel := context.WithCancel(context.Background())
	s := &store{dir: dir, ready: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(s.ready)
		s.err = s.start(ctx)
	}()
	return s
}

func (s *store) start(ctx context.Context) (err error) {
	if s.server, err = es.Start(ctx, s.dir, 0); err != nil {
		return err
	}
	key, err := s.server.ShipperKey(ctx, true)
	if err != nil {
		return fmt.Errorf("making a key that may only create documents: %w", err)
	}
	s.key = filepath.Join(s.dir, "api-key")
	return os.WriteFile(s.key, []byte(key), 0o600)
}

// config waits for the server and gives what the daemon is told about it.
func (s *store) config(ctx context.Context) (string, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if s.err != nil {
		return "", s.err
	}
	return fmt.Sprintf("elasticsearch: {url: %q, api_key_file: %q, ca_file: %q}\n", s.server.URL, s.key, s.server.CAFile), nil
}

// count is the number of documents in the exchange stream.
func (s *store) count(ctx context.Context) (int, error) {
	var answer struct{ Count int }
	err := s.server.Do(ctx, "GET", "/logs-sallyport.exchange-default/_count", nil, &answer)
	return answer.Count, err
}

func (s *store) stop() error {
	s.cancel()
	<-s.ready
	if s.server == nil {
		return nil
	}
	return s.server.Stop()
}
