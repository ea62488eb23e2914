// SPDX-License-Identifier: Apache-2.0

// Command mockllm is the bench upstream: HTTPS (h1 and h2), OpenAI chat
// completions, deterministic answers. See the README for its flags.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/certs"
	"github.com/sallyport-dev/sallyport/test/bench/internal/mock"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:18443", "HTTPS address")
	plain := flag.String("plain", "", "plain HTTP address (off when empty)")
	raw := flag.String("raw", "", "raw TCP byte source address (off when empty)")
	dir := flag.String("out", "bench-certs", "folder for the CA and the server certificate")
	names := flag.String("names", "llm.bench.test,localhost,127.0.0.1", "names in the certificate")
	h1 := flag.Bool("h1", false, "offer HTTP/1.1 only")
	life := flag.Duration("for", time.Hour, "stop by itself after this time")
	flag.Parse()

	set, err := certs.Make(strings.Split(*names, ",")...)
	if err == nil {
		err = set.Write(*dir)
	}
	if err != nil {
		log.Fatal(err)
	}
	tc, err := set.TLS()
	if err != nil {
		log.Fatal(err)
	}
	st := &mock.Stats{}
	protos := new(http.Protocols)
	protos.SetHTTP1(true)
	protos.SetHTTP2(!*h1)
	srv := &http.Server{Addr: *addr, Handler: mock.Handler(st), TLSConfig: tc, Protocols: protos,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 4096}, ReadHeaderTimeout: 30 * time.Second}
	if *raw != "" {
		l, err := net.Listen("tcp", *raw)
		if err != nil {
			log.Fatal(err)
		}
		go mock.ServeRaw(l)
	}
	if *plain != "" {
		go func() {
			log.Fatal((&http.Server{Addr: *plain, Handler: mock.Handler(st), ReadHeaderTimeout: 30 * time.Second}).ListenAndServe())
		}()
	}
	time.AfterFunc(*life, func() { log.Fatal("time is up") })
	log.Printf("mockllm https=%s plain=%s raw=%s certs=%s", *addr, *plain, *raw, *dir)
	log.Fatal(srv.ListenAndServeTLS("", ""))
}
