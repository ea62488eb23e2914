// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
)

// openElastic makes the shipper if it is configured. The server need not be there: the journal is the record.
func (d *daemon) openElastic(context.Context) (err error) {
	c := d.cfg.Elasticsearch
	if c.URL == "" {
		return nil
	}
	o := elastic.Options{URL: c.URL, Version: d.Version, Journal: d.journal, Log: d.Log}
	if c.CAFile != "" {
		if o.CA, err = os.ReadFile(c.CAFile); err != nil {
			return fmt.Errorf("elasticsearch.ca_file: %w", err)
		}
	}
	if c.APIKeyFile != "" {
		if o.APIKey, err = elastic.ReadSecret(c.APIKeyFile); err != nil {
			return err
		}
	}
	d.elastic, err = elastic.New(o)
	return err
}

func (d *daemon) elasticStatus() adminapi.Elastic {
	if d.elastic == nil {
		return adminapi.Elastic{State: "off"}
	}
	s := d.elastic.State()
	return adminapi.Elastic{State: string(s.State), Lag: int64(s.Lag)}
}
