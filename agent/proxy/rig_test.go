// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

const host = "api.test"

// authority is a CA that signs leaves on demand: proxy.Certs, and the provider's CA as well.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  []byte

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

func newAuthority(t testing.TB, name string) *authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der := must(x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key))(t)
	cert := must(x509.ParseCertificate(der))(t)
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool(), leaves: map[string]*tls.Certificate{}}
	a.pool.AddCert(cert)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) Leaf(_ context.Context, name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.leaves[name]; l != nil {
		return l, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(int64(len(a.leaves) + 2)), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	l := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	a.leaves[name] = l
	return l, nil
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// handler is a Handler made of a function.
type handler func(context.Context, *pipeline.Meta, pipeline.Client, pipeline.Upstream) error

func (h handler) Serve(ctx context.Context, m *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
	return h(ctx, m, c, u)
}

// forward is the handler that changes nothing.
func forward(ctx context.Context, _ *pipeline.Meta, c pipeline.Client, u pipeline.Upstream) error {
	body, err := c.Body(ctx, 1<<20)
	if err != nil && !errors.Is(err, pipeline.ErrBodyTooLarge) {
		return err
	}
	reply, err := u.Send(ctx, c.Head(), body, "", nil)
	if err != nil {
		return err
	}
	return deliver(ctx, c, reply, reply.Head())
}

func deliver(ctx context.Context, c pipeline.Client, reply pipeline.Reply, head pipeline.Head) error {
	defer func() { _ = reply.Close() }()
	if err := c.Respond(head); err != nil {
		return err
	}
	for {
		b, err := reply.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.Write(b); err != nil {
			return err
		}
	}
}

// rig is a proxy between a test and a provider.
type rig struct {
	*proxy.Server
	t        testing.TB
	ours     *authority // shown to applications
	theirs   *authority // of the provider
	provider *provider
	origins  *origins
	router   *router
	ledger   *ledger
	addr     string
	opts     proxy.Options
	notices  chan string
	served   chan error
}

// terminate is the route of the provider.
func (r *rig) terminate(mode pipeline.Mode) proxy.Route {
	return proxy.Route{Disposition: proxy.Terminate, Endpoint: pipeline.Endpoint{Name: "test", Host: host, Protocol: "openai", Port: 443},
		UpstreamCA: r.theirs.pem, Scope: "agents", Mode: mode}
}

// newRig starts everything. script nil: no provider answers. change may adapt the options and the routes.
func newRig(t testing.TB, script func(net.Conn, *bufio.Reader), h handler, change ...func(*rig)) *rig {
	if h == nil {
		h = forward
	}
	r := &rig{t: t, ours: newAuthority(t, "ours"), theirs: newAuthority(t, "theirs"), ledger: &ledger{}, notices: make(chan string, 100), served: make(chan error, 1)}
	if script == nil {
		script = func(net.Conn, *bufio.Reader) {}
	}
	r.provider = newProvider(t, r.theirs, script)
	r.origins = &origins{dest: r.provider.addr}
	r.router = &router{table: map[string]proxy.Route{host: r.terminate(pipeline.ModeEnforce)}}
	r.opts = proxy.Options{
		Origins: r.origins, Identifier: identifier{}, Router: r.router, Certs: r.ours, Handler: h, Ledger: r.ledger,
		Roots:          func() (*x509.CertPool, error) { return x509.NewCertPool(), nil },
		FingerprintKey: []byte("a key for tests"),
		Silence:        50 * time.Millisecond,
		Notice: func(stage string, err error) {
			select {
			case r.notices <- stage + ": " + err.Error():
			default:
			}
		},
	}
	for _, f := range change {
		f(r)
	}
	r.Server = must(proxy.New(r.opts))(t)
	l := must(proxy.Listen(context.Background(), "127.0.0.1:0"))(t)
	r.addr = l.Addr().String()
	go func() { r.served <- r.Serve(context.Background(), l) }()
	<-r.Ready()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown: %v", err)
	}
	if err := <-r.served; err != nil {
		r.t.Errorf("serve: %v", err)
	}
}

// raw opens a TCP connection to the proxy.
func (r *rig) raw() *net.TCPConn {
	r.t.Helper()
	c := must(net.Dial("tcp", r.addr))(r.t)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// client opens a TLS connection to the proxy.
func (r *rig) client() *tls.Conn {
	r.t.Helper()
	c := tls.Client(r.raw(), &tls.Config{ServerName: host, RootCAs: r.ours.pool})
	if err := c.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// direct opens a TLS connection to the provider.
func (r *rig) direct() *tls.Conn {
	r.t.Helper()
	c := must(tls.Dial("tcp", r.provider.addr.String(), &tls.Config{ServerName: host, RootCAs: r.theirs.pool}))(r.t)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask writes a request and reads n bytes, or to the end if n is 0.
func ask(t testing.TB, c io.ReadWriter, request string, n int) string {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatalf("after %q: %v", b, err)
		}
		return string(b)
	}
	b := make([]byte, n)
	if k, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("after %q: %v", b[:k], err)
	}
	return string(b)
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("waited in vain for %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// flow waits for the record of a connection.
func (r *rig) flow(disposition string) pipeline.Flow {
	r.t.Helper()
	var got pipeline.Flow
	eventually(r.t, "a record of a connection "+disposition, func() bool {
		for _, f := range r.ledger.all() {
			if f.Disposition == disposition {
				got = f
				return true
			}
		}
		return false
	})
	return got
}

// descriptors counts open files.
func descriptors(t testing.TB) int {
	return len(must(os.ReadDir("/proc/self/fd"))(t))
}
