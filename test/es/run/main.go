// SPDX-License-Identifier: Apache-2.0

// Command run starts an Elasticsearch for the demo and for trying things out, and keeps it until it is interrupted.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sallyport-dev/sallyport/test/es"
)

func main() {
	dir := flag.String("dir", "", "where its data are kept (needed)")
	port := flag.Int("port", 0, "port on loopback; 0 takes a free one")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*dir, *port); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(dir string, port int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := es.Start(ctx, dir, port)
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop() }()
	keyFile := filepath.Join(s.Dir, "config", "api-key")
	if _, err := os.Stat(keyFile); err != nil {
		key, err := s.ShipperKey(ctx, true)
		if err != nil {
			return err
		}
		if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
			return err
		}
	}
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{"url": s.URL, "ca_file": s.CAFile, "api_key_file": keyFile,
		"user": s.User, "password_file": filepath.Join(s.Dir, "config", "password")})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return s.Stop()
}
