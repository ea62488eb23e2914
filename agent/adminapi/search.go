// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Search asks for exchanges by fields and words; docs/search.md has the language of Query.
type Search struct {
	Query  string
	Limit  int    // newest first; 0 = the server's default
	Before string // Found.Next of the page before; "" = the newest
}

// Found is one page of exchanges, newest first.
type Found struct {
	Exchanges []Hit  `json:"exchanges"`
	Next      string `json:"next,omitempty"` // more are there: what Search.Before has to be for them
}

// Hit is one exchange of a search, without its contents.
type Hit struct {
	SessionID  string    `json:"session_id"`
	ExchangeID string    `json:"exchange_id"`
	Parent     string    `json:"parent_id,omitempty"`
	Time       time.Time `json:"time"`
	Principal  Principal `json:"principal"`
	Tenant     string    `json:"tenant"`
	Workload   string    `json:"workload"` // unit, pod, container or program
	UID        uint32    `json:"uid"`
	Scope      string    `json:"scope"`
	Mode       string    `json:"mode"`
	Endpoint   string    `json:"endpoint"`
	Operation  string    `json:"operation"`
	Model      string    `json:"model"`
	Tools      []string  `json:"tools"`
	Action     string    `json:"action"`
	Rule       string    `json:"rule"`
	Enforced   bool      `json:"enforced"`
	Status     int       `json:"status"`
	Cut        string    `json:"cut,omitempty"`
	Masked     int       `json:"masked"`
	Input      int64     `json:"input_tokens"`
	Output     int64     `json:"output_tokens"`
	Cached     int64     `json:"cached_tokens"`
	Estimated  bool      `json:"estimated"` // the provider did not say all of it
	DurationMS int64     `json:"duration_ms"`
}

// UsageReport is what was used, and what is odd about it.
type UsageReport struct {
	Rows       []UsageRow  `json:"rows"`
	SharedKeys []SharedKey `json:"shared_keys"`
}

// UsageRow adds up the exchanges of one principal with one model.
type UsageRow struct {
	Day       string    `json:"day,omitempty"` // in UTC; "" if days are not told apart
	Principal Principal `json:"principal"`
	Tenant    string    `json:"tenant"`
	Endpoint  string    `json:"endpoint"`
	Model     string    `json:"model"`
	Exchanges int64     `json:"exchanges"`
	Input     int64     `json:"input_tokens"` // those that the provider had cached included
	Output    int64     `json:"output_tokens"`
	Cached    int64     `json:"cached_tokens"`
	Estimated int64     `json:"estimated"` // exchanges whose tokens are, in part, an estimate
}

// SharedKey is a provider key that several workloads used.
type SharedKey struct {
	Credential string    `json:"credential"` // keyed fingerprint
	Workloads  []string  `json:"workloads"`
	Exchanges  int64     `json:"exchanges"`
	Last       time.Time `json:"last"`
}

// Archive is the state of the search store.
type Archive struct {
	State     string    `json:"state"` // "off", "ok", "stopped"; for people, more may come
	Exchanges int64     `json:"exchanges"`
	Bytes     int64     `json:"bytes"`
	Oldest    time.Time `json:"oldest,omitzero"`
	Error     string    `json:"error,omitempty"`  // why it is stopped
	Rebuilt   int64     `json:"rebuilt,omitzero"` // how often, since the start, it could not be used and was built anew
}

// Search finds exchanges.
func (c *Client) Search(ctx context.Context, s Search) (Found, error) {
	v := url.Values{}
	if s.Query != "" {
		v.Set("q", s.Query)
	}
	if s.Limit > 0 {
		v.Set("limit", strconv.Itoa(s.Limit))
	}
	if s.Before != "" {
		v.Set("before", s.Before)
	}
	return call[Found](ctx, c, http.MethodGet, "/v1/search?"+v.Encode(), nil)
}

// Usage adds up the exchanges that a query finds; days tells whether days are told apart.
func (c *Client) Usage(ctx context.Context, query string, days bool) (UsageReport, error) {
	v := url.Values{"q": {query}, "days": {strconv.FormatBool(days)}}
	return call[UsageReport](ctx, c, http.MethodGet, "/v1/usage?"+v.Encode(), nil)
}
