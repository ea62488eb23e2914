// SPDX-License-Identifier: Apache-2.0

// Package client talks to one Elasticsearch of one or more nodes: over TLS with an authority or a certificate that is pinned, with
// bodies compressed. A node that does not answer is left alone for a while; nothing is repeated here, as the callers know better what
// may be.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
)

// Options says where the server is and who asks. Of APIKey and Username with Password one may be given, of CA and Fingerprint too.
type Options struct {
	URLs        []string // of nodes of one cluster
	CA          []byte   // PEM that replaces the system roots; nil = system roots
	Fingerprint string   // SHA-256 of a certificate, in hex: of the server, or of an authority that it presents; it is trusted, and nothing else
	APIKey      Secret   // encoded, as Elasticsearch shows it
	Username    string
	Password    Secret
}

// Client is safe for concurrent use.
type Client struct {
	es    *elasticsearch.Client
	close func()
}

// namespacePattern is what Elasticsearch allows in the last part of a data stream's name, less what would split it.
var namespacePattern = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)

// CheckNamespace says whether a name can be the last part of a data stream's.
func CheckNamespace(name string) error {
	if !namespacePattern.MatchString(name) {
		return fmt.Errorf("elasticsearch.namespace %q: want lower-case letters, digits, _ and . only", name)
	}
	return nil
}

// New checks the options; nothing is sent. Errors name the key of the configuration.
func New(o Options) (*Client, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("elasticsearch.url: want an address such as https://es.example.org:9200")
	}
	secret := !o.APIKey.Empty() || !o.Password.Empty()
	for _, raw := range o.URLs {
		u, err := url.Parse(raw)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return nil, errors.New("elasticsearch.url: want an address such as https://es.example.org:9200")
		case u.User != nil:
			return nil, errors.New("elasticsearch.url holds a user or password: put a key into elasticsearch.api_key_file instead")
		case u.Scheme == "http" && secret && !loopback(u.Hostname()):
			return nil, errors.New("elasticsearch.url is not https: a key is sent over TLS only")
		}
	}
	if !o.APIKey.Empty() && (o.Username != "" || !o.Password.Empty()) {
		return nil, errors.New("elasticsearch: give an API key, or a user name and a password")
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 90 * time.Second, // a bulk request waits a minute for its shard before it fails
		IdleConnTimeout:       time.Minute,
		MaxConnsPerHost:       2,
		ForceAttemptHTTP2:     true,
	}
	if o.CA != nil {
		if o.Fingerprint != "" {
			return nil, errors.New("elasticsearch: give a ca_file or a fingerprint")
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("elasticsearch.ca_file holds no certificate in PEM form")
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	if o.Fingerprint != "" {
		pin, err := ParseFingerprint(o.Fingerprint)
		if err != nil {
			return nil, err
		}
		transport.ForceAttemptHTTP2 = false
		transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialPinned(ctx, dialer, network, addr, pin)
		}
	}
	es, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses: o.URLs, APIKey: o.APIKey.value, Username: o.Username, Password: o.Password.value,
		Transport: transport, DisableRetry: true, DisableMetaHeader: true, CompressRequestBody: true, PoolCompressor: true,
	})
	if err != nil {
		return nil, fmt.Errorf("elasticsearch.url: %w", err)
	}
	return &Client{es, transport.CloseIdleConnections}, nil
}

// ParseFingerprint reads a SHA-256 in hex, with colons or without.
func ParseFingerprint(s string) ([sha256.Size]byte, error) {
	var pin [sha256.Size]byte
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(b) != len(pin) {
		return pin, errors.New("elasticsearch.fingerprint: want the SHA-256 of a certificate as 64 hex digits")
	}
	return [sha256.Size]byte(b), nil
}

// dialPinned trusts the certificate with the fingerprint and nothing else. If it is an authority's, the server's has to be signed by
// it and be for the name that was dialled.
func dialPinned(ctx context.Context, d *net.Dialer, network, addr string, pin [sha256.Size]byte) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	verify := func(cs tls.ConnectionState) error {
		for i, c := range cs.PeerCertificates {
			if sha256.Sum256(c.Raw) != pin {
				continue
			}
			if i == 0 {
				return nil // it has shown that it has the key of this very certificate
			}
			o := x509.VerifyOptions{DNSName: host, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
			o.Roots.AddCert(c)
			for _, between := range cs.PeerCertificates[1:i] {
				o.Intermediates.AddCert(between)
			}
			_, err := cs.PeerCertificates[0].Verify(o)
			return err
		}
		return errors.New("no certificate of the server has the fingerprint of elasticsearch.fingerprint")
	}
	t := tls.Dialer{NetDialer: d, Config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: true, VerifyConnection: verify}}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return t.DialContext(ctx, network, addr)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Close releases idle connections.
func (c *Client) Close() { c.close() }

// RequestError is an answer to a whole request that says no.
type RequestError struct {
	Status int
	Type   string // of the server's exception
	Reason string
}

func (e *RequestError) Error() string {
	msg := fmt.Sprintf("Elasticsearch answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Type != "" || e.Reason != "" {
		msg += ": " + e.Type + ": " + e.Reason
	}
	switch e.Status {
	case http.StatusUnauthorized:
		msg += "; check the key, or the user and password"
	case http.StatusForbidden:
		msg += "; see docs/elasticsearch.md for the privileges that are needed"
	}
	return msg
}

// Is says whether an error is an answer with a status.
func Is(err error, status int) bool {
	var re *RequestError
	return errors.As(err, &re) && re.Status == status
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 20

// Do sends a request. body is bytes, or encoded as JSON; nil is none. The answer is decoded into out unless that is nil. An answer
// that is not 2xx is a *RequestError.
func (c *Client) Do(ctx context.Context, method, path string, body, out any) error {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("encoding a request to Elasticsearch: %w", err)
		}
		in = bytes.NewReader(raw)
	}
	return c.send(ctx, method, path, "application/json", in, out)
}

func (c *Client) send(ctx context.Context, method, path, kind string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, path, body)
	if err != nil {
		return fmt.Errorf("asking Elasticsearch: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.es.Perform(req)
	if err != nil {
		return fmt.Errorf("asking Elasticsearch: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading Elasticsearch's answer: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return refusal(res.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("reading Elasticsearch's answer: %w", err)
	}
	return nil
}

// Result is the answer to one operation of a bulk request.
type Result struct {
	Index  string `json:"_index"`
	ID     string `json:"_id"`
	Status int    `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

// Bulk sends operations of one kind, "create" or "delete": a line each, and that of the document. It returns their results in order;
// ids are what was sent. An answer that does not fit is an error.
func (c *Client) Bulk(ctx context.Context, query, op string, body []byte, ids []string) ([]Result, error) {
	var answer struct {
		Items []map[string]Result `json:"items"`
	}
	path := "/_bulk?" + query + "filter_path=errors,items.*._index,items.*._id,items.*.status,items.*.error.type,items.*.error.reason"
	if err := c.send(ctx, http.MethodPost, path, "application/x-ndjson", bytes.NewReader(body), &answer); err != nil {
		return nil, err
	}
	if len(answer.Items) != len(ids) {
		return nil, fmt.Errorf("the answer of Elasticsearch is for %d of %d documents", len(answer.Items), len(ids))
	}
	out := make([]Result, len(ids))
	for i, m := range answer.Items {
		r, ok := m[op]
		if !ok || r.ID != ids[i] {
			return nil, errors.New("the answer of Elasticsearch is for other documents than were sent")
		}
		out[i] = r
	}
	return out, nil
}

// refusal finds the reason in the body of an error, which may be anything.
func refusal(status int, raw []byte) error {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	var detail struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(raw, &e) == nil {
		_ = json.Unmarshal(e.Error, &detail) // some errors are a string: then there is no reason
	}
	return &RequestError{status, OneLine(detail.Type), OneLine(detail.Reason)}
}

// OneLine makes a reason of the server fit into a line of a log.
func OneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
