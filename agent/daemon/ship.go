// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
)

// openElastic makes the shipper if it is configured. The server need not be there: the journal is the record.
func (d *daemon) openElastic(context.Context) (err error) {
	c := d.cfg.Elasticsearch
	nodes := c.Nodes()
	if len(nodes) == 0 {
		return nil
	}
	o := elastic.Options{Options: client.Options{URLs: nodes, Fingerprint: c.Fingerprint}, Namespace: c.Namespace, Whole: c.Contents == "whole", Version: d.Version, Journal: d.journal, Log: d.Log}
	if c.CAFile != "" {
		if o.CA, err = os.ReadFile(c.CAFile); err != nil {
			return fmt.Errorf("elasticsearch.ca_file: %w", err)
		}
	}
	if c.APIKeyFile != "" {
		if o.APIKey, err = client.ReadSecret(c.APIKeyFile); err != nil {
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
