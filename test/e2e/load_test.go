// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loadEnv makes this test binary a client that asks many questions; its value is what loadClient is given.
const loadEnv = "SALLYPORT_TEST_LOAD"

// pause is how long a worker thinks between two questions: the load is to last while others are being restarted.
const pause = 50 * time.Millisecond

// loadClient asks questions over kept connections, every third as a stream, until each has its whole answer. What fails is
// asked again in other words, so that no two requests are the same. args: address, files of trusted roots, how many
// questions at least, how many workers, a file that gets the digest of each request whose answer arrived whole, and one
// until which it goes on.
func loadClient(out io.Writer, args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("load: want address, roots, questions, workers, two files, got %q", args)
	}
	questions, err1 := strconv.Atoi(args[2])
	workers, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	for _, file := range strings.Split(args[1], ",") {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		roots.AppendCertsFromPEM(raw)
	}
	f, err := os.Create(args[4])
	if err != nil {
		return err
	}
	var mu sync.Mutex
	answered := bufio.NewWriter(f)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, args[0])
		},
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: workers, DisableCompression: true,
	}}
	var next, failed atomic.Int64
	var last atomic.Pointer[string]
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(questions) {
					if _, err := os.Stat(args[5]); err == nil {
						return
					}
				}
				<-time.After(pause)
				for try := 1; ; try++ {
					body := fmt.Appendf(nil, `{"model":"gpt-4o-mini","stream":%v,"messages":[{"role":"user","content":"say: number %d, try %d, pace 1ms"}]}`, n%3 == 0, n, try)
					err := ask(client, body)
					if err == nil {
						mu.Lock()
						fmt.Fprintf(answered, "%x\n", sha256.Sum256(body)) // errors stay with the writer until Flush
						mu.Unlock()
						break
					}
					failed.Add(1)
					why := err.Error()
					last.Store(&why)
					<-time.After(time.Duration(min(try, 20)) * 10 * time.Millisecond) // somebody is being restarted
				}
			}
		})
	}
	wg.Wait()
	why := "-"
	if p := last.Load(); p != nil {
		why = *p
	}
	fmt.Fprintln(out, failed.Load(), why)
	return errors.Join(answered.Flush(), f.Close())
}

// ask asks once. nil says that the answer arrived whole.
func ask(client *http.Client, body []byte) error {
	req, err := http.NewRequest(http.MethodPost, "https://api.openai.com/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.GetBody = nil // never sent twice by itself
	req.Header.Set("Authorization", "Bearer sk-test-not-a-key")
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %.300s", res.Status, answer)
	case bytes.Contains(body, []byte(`"stream":true`)) && !bytes.HasSuffix(answer, []byte("data: [DONE]\n\n")):
		return errors.New("the stream has no end")
	}
	return nil
}
