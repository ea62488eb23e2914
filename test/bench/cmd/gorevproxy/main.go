// SPDX-License-Identifier: Apache-2.0

// Command gorevproxy is the plain Go baseline: httputil.ReverseProxy between
// TLS and TLS, with an access log line per request. Nothing is tuned beyond
// what a first version would set.
package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/certs"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:18450", "address")
	up := flag.String("upstream", "https://127.0.0.1:18443", "upstream")
	dir := flag.String("certs", "bench-certs", "folder with ca.pem, cert.pem, key.pem")
	logTo := flag.String("log", os.DevNull, "access log")
	h1 := flag.Bool("h1", true, "speak HTTP/1.1 to the upstream")
	flag.Parse()
	ca, err := os.ReadFile(*dir + "/ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	u, err := url.Parse(*up)
	if err != nil {
		log.Fatal(err)
	}
	f, err := os.Create(*logTo)
	if err != nil {
		log.Fatal(err)
	}
	out, mu := bufio.NewWriter(f), sync.Mutex{}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }}
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 4096, ForceAttemptHTTP2: !*h1, DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: certs.Pool(ca), ServerName: "llm.bench.test", CurvePreferences: []tls.CurveID{tls.X25519}}}
	srv := &http.Server{Addr: *addr, TLSConfig: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, ReadHeaderTimeout: 30 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			t := time.Now()
			proxy.ServeHTTP(w, r)
			mu.Lock()
			fmt.Fprintf(out, "%s %s %s %s %v\n", t.Format(time.RFC3339Nano), r.RemoteAddr, r.Method, r.URL.Path, time.Since(t))
			mu.Unlock()
		})}
	log.Fatal(srv.ListenAndServeTLS(*dir+"/cert.pem", *dir+"/key.pem"))
}
