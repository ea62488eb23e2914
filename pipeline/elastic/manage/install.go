// SPDX-License-Identifier: Apache-2.0

// Package manage does what people do with the data streams in Elasticsearch, and what the shipper needs before it can begin: it makes
// templates and lifecycle policies, says how things stand, compares the journal with what is there, erases contents, and exports
// anchors.
package manage

import (
	"context"
	"fmt"
	"net/http"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// What Install does with lifecycle policies that are there.
type Policies int

const (
	KeepPolicies    Policies = iota // an administrator may have changed them
	ReplacePolicies                 // an administrator asks for it
)

// The oldest Elasticsearch that knows all that is asked of it.
const oldestMajor, oldestMinor = 8, 7

// checkVersion asks how old the server is. A key that may not ask goes on: what is missing will be refused.
func checkVersion(ctx context.Context, c *client.Client) error {
	var is struct {
		Version struct {
			Number string `json:"number"`
		} `json:"version"`
	}
	err := c.Do(ctx, http.MethodGet, "/", nil, &is)
	if client.Is(err, http.StatusForbidden) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for the version of Elasticsearch: %w", err)
	}
	var major, minor int
	if n, _ := fmt.Sscanf(is.Version.Number, "%d.%d", &major, &minor); n != 2 {
		return fmt.Errorf("the server says that its version is %q, which is none: is it Elasticsearch?", client.OneLine(is.Version.Number))
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fmt.Errorf("this Elasticsearch, %s, is too old: %d.%d or later is needed", client.OneLine(is.Version.Number), oldestMajor, oldestMinor)
	}
	return nil
}

// Install makes lifecycle policies and templates. Templates are replaced: they belong to the version of the program.
func Install(ctx context.Context, c *client.Client, l document.Lifecycle, p Policies) error {
	if err := checkVersion(ctx, c); err != nil {
		return err
	}
	for _, t := range document.Templates(l) {
		if t.Kind == document.KindPolicy && p == KeepPolicies {
			err := c.Do(ctx, http.MethodGet, t.Path, nil, nil)
			if err == nil {
				continue
			}
			if !client.Is(err, http.StatusNotFound) {
				return fmt.Errorf("asking for the %s %s: %w", t.Kind, t.Name, err)
			}
		}
		if err := c.Do(ctx, http.MethodPut, t.Path, []byte(t.Body), nil); err != nil {
			return fmt.Errorf("making the %s %s: %w", t.Kind, t.Name, err)
		}
	}
	return nil
}
