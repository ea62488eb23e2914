// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CheckFiles looks whether the files and folders that somebody else must have made are there and can be read. Parse does
// not: a configuration may be checked on another host. Each line of the error says what to do.
func CheckFiles(c *Config) error {
	var all []error
	file := func(path, key string) {
		if path == "" {
			return
		}
		f, err := os.Open(path)
		if err != nil {
			all = append(all, fmt.Errorf("%s: %s cannot be read (%w): make it or mend the path", key, path, cause(err)))
			return
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			all = append(all, fmt.Errorf("%s: %s is a folder: give a file", key, path))
		}
	}
	for _, e := range c.Endpoints {
		file(e.UpstreamCA, "endpoints: upstream_ca of "+e.Name)
	}
	if info, err := os.Stat(c.Policy.Dir); err != nil {
		all = append(all, fmt.Errorf("policy.dir: %s cannot be read (%w): make it or mend the path", c.Policy.Dir, cause(err)))
	} else if !info.IsDir() {
		all = append(all, fmt.Errorf("policy.dir: %s is no folder: give the folder that holds the policy files", c.Policy.Dir))
	}
	file(c.Elasticsearch.APIKeyFile, "elasticsearch.api_key_file")
	file(c.Elasticsearch.CAFile, "elasticsearch.ca_file")
	file(c.Approvals.Webhook.SecretFile, "approvals.webhook.secret_file")
	file(c.Approvals.Webhook.CAFile, "approvals.webhook.ca_file")
	return errors.Join(all...)
}

// cause is the error without the path, which stands in the message already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
