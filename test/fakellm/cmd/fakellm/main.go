// SPDX-License-Identifier: Apache-2.0

// Command fakellm runs the fake provider of package fakellm until it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/test/fakellm"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:443", "address of the HTTPS endpoint")
	logListen := flag.String("log-listen", "", "address at which plain HTTP serves the request log at /__log; empty: nowhere")
	names := flag.String("names", "api.openai.com", "names of the certificate, separated by commas")
	dir := flag.String("dir", "", "folder for ca.pem and requests.jsonl (appended to); required")
	pace := flag.Duration("pace", 0, "time between two deltas of a stream")
	date := flag.String("date", "", "a fixed value for the Date of replies (RFC 3339), to compare runs; empty: now")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *logListen, *names, *dir, *pace, *date); err != nil {
		fmt.Fprintln(os.Stderr, "fakellm:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. When it can be reached it prints "listening ADDRESS".
func run(ctx context.Context, listen, logListen, names, dir string, pace time.Duration, date string) (err error) {
	if dir == "" {
		return errors.New("-dir is missing: name a folder for ca.pem and requests.jsonl")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "requests.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	o := fakellm.Options{Names: strings.Split(names, ","), Pace: pace, Log: log}
	if date != "" {
		t, err := time.Parse(time.RFC3339, date)
		if err != nil {
			return fmt.Errorf("-date: %w", err)
		}
		o.Clock = func() time.Time { return t }
	}
	s, err := fakellm.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), s.CA(), 0o644); err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	done := make(chan error, 2)
	go func() { done <- s.Serve(l) }()
	if logListen != "" {
		ll, err := net.Listen("tcp", logListen)
		if err != nil {
			return err
		}
		h := &http.Server{Handler: s.LogHandler(), ReadHeaderTimeout: 10 * time.Second}
		defer h.Close()
		go func() { done <- h.Serve(ll) }()
	}
	fmt.Println("listening", l.Addr())
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		return err
	}
}
