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

// Install makes lifecycle policies and templates. Templates are replaced: they belong to the version of the program.
func Install(ctx context.Context, c *client.Client, l document.Lifecycle, p Policies) error {
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
