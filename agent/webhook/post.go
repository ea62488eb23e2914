// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// finalError is an answer after which there is no use in trying again.
type finalError struct{ text string }

func (e *finalError) Error() string { return e.text }

// busyError is an answer that says when to try again.
type busyError struct {
	text  string
	after time.Duration
}

func (e *busyError) Error() string { return e.text }

func newClient(o *Options) (*http.Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("approvals.webhook.url: want an https URL without user and password; http only to this host")
	}
	var roots *x509.CertPool
	if o.CA != nil {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("approvals.webhook.ca_file holds no certificate in PEM form")
		}
	}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxConnsPerHost:        workers,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
			ForceAttemptHTTP2:      true,
		},
	}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// post makes one try. Errors hold neither the URL's path nor query, in which some receivers keep a secret.
func (n *Notifier) post(ctx context.Context, j *job) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.o.URL, bytes.NewReader(j.body))
	if err != nil {
		return &finalError{"the request cannot be made"}
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sallyport/"+n.o.Version)
	req.Header.Set("webhook-id", j.id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", n.o.Secret.sign(j.id, now, j.body))
	resp, err := n.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("reaching %s: %w", req.URL.Host, err)
	}
	_ = resp.Body.Close() // what it says is nobody's concern
	text := fmt.Sprintf("%s answered %d", req.URL.Host, resp.StatusCode)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return &finalError{text + ": redirects are refused, set approvals.webhook.url to where it leads"}
	case code == http.StatusGone:
		return &finalError{text + ": it wants no more messages"}
	}
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		return &busyError{text, time.Duration(s) * time.Second}
	}
	return errors.New(text)
}
