// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
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
	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// namespacePattern is what Elasticsearch allows in the last part of a data stream's name, less what would split it.
var namespacePattern = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)

// newClient makes the client and a function that releases its connections. Errors name the key of the configuration.
func newClient(o *Options) (*elasticsearch.Client, func(), error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, nil, errors.New("elasticsearch.url: want an address such as https://es.example.org:9200")
	}
	if u.User != nil {
		return nil, nil, errors.New("elasticsearch.url holds a user or password: put a key into elasticsearch.api_key_file instead")
	}
	secret := !o.APIKey.empty() || !o.Password.empty()
	if u.Scheme == "http" && secret && !loopback(u.Hostname()) {
		return nil, nil, errors.New("elasticsearch.url is not https: a key is sent over TLS only")
	}
	if !o.APIKey.empty() && (o.Username != "" || !o.Password.empty()) {
		return nil, nil, errors.New("elasticsearch: give an API key, or a user name and a password")
	}
	if !namespacePattern.MatchString(o.Namespace) {
		return nil, nil, fmt.Errorf("elasticsearch namespace %q: want lower-case letters, digits, _ and . only", o.Namespace)
	}
	var roots *x509.CertPool
	if o.CA != nil {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(o.CA) {
			return nil, nil, errors.New("elasticsearch.ca_file holds no certificate in PEM form")
		}
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 90 * time.Second, // a bulk request waits a minute for its shard before it fails
		IdleConnTimeout:       time.Minute,
		MaxConnsPerHost:       2,
		ForceAttemptHTTP2:     true,
	}
	client, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses: []string{o.URL}, APIKey: o.APIKey.value, Username: o.Username, Password: o.Password.value,
		Transport: transport, DisableRetry: true, // this package knows better what may be repeated
		DisableMetaHeader: true,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("elasticsearch.url: %w", err)
	}
	return client, transport.CloseIdleConnections, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// prepare makes the templates, and keeps trying. A key that may not make them is taken to be one for which somebody else
// did: documents are refused as long as there is no data stream for them, so nothing ends up in an index of the wrong
// form.
func (s *Shipper) prepare(ctx context.Context) error {
	for attempt := 0; !s.prepared; attempt++ {
		err := s.putTemplates(ctx)
		var re *requestError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			s.prepared = true
			s.succeed(0)
			return nil
		case errors.As(err, &re) && re.status == http.StatusForbidden:
			s.o.Log.Info("the Elasticsearch key may not make templates; taking them as made", "template", templateName)
			s.prepared = true
			return nil
		}
		s.fail(StateRetrying, err)
		if err := s.pause(ctx, attempt); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shipper) putTemplates(ctx context.Context) error {
	for _, t := range Templates() {
		var req esapi.Request = esapi.IndicesPutIndexTemplateRequest{Name: t.Name, Body: bytes.NewReader(t.Body)}
		if t.Component {
			req = esapi.ClusterPutComponentTemplateRequest{Name: t.Name, Body: bytes.NewReader(t.Body)}
		}
		res, err := req.Do(ctx, s.client)
		if err != nil {
			return fmt.Errorf("making template %s: %w", t.Name, err)
		}
		raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		if cerr := res.Body.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("making template %s: %w", t.Name, err)
		}
		if res.IsError() {
			return fmt.Errorf("making template %s: %w", t.Name, &requestError{res.StatusCode, reasonOf(raw)})
		}
	}
	return nil
}

// oneLine makes a reason of the server fit into a line of a log.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
