// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// policyText is one file of a version of the policy.
type policyText struct {
	text   string
	masked bool // it is not what the file was, for the secrets in it
}

// casePolicy collects the versions of the policy that a journal tells of.
type casePolicy struct {
	now      map[string]policyText // what was in force where the journal has been read to, by name; nil if that is not known
	version  string
	versions map[string]map[string]policyText
	used     map[string]bool // versions that decided something in the case
}

// policyTexts is what MANIFEST.json says of one version.
type policyTexts struct {
	Version string       `json:"version"`
	Files   []policyFile `json:"files"`
}

// policyFile is one file of a version. The version is a digest of the names and texts of all of them: so it proves them, unless some are masked.
type policyFile struct {
	Name   string `json:"name"` // in the policy folder
	File   string `json:"file"` // in the case
	Masked bool   `json:"masked,omitempty"`
}

// take reads a policy record. One that changes a version whose texts are not in the journal any more gives no texts.
func (p *casePolicy) take(e *journal.Entry) error {
	var x struct {
		Version  string `json:"version"`
		Previous string `json:"previous"`
		Files    []struct {
			Name   string `json:"name"`
			Change string `json:"change"`
			SHA256 string `json:"sha256"`
			Text   string `json:"text"`
		} `json:"files"`
	}
	if err := e.Decode(&x); err != nil {
		return err
	}
	next := map[string]policyText{}
	if x.Previous != "" {
		if p.now == nil || p.version != x.Previous {
			p.now, p.version = nil, x.Version
			return nil
		}
		maps.Copy(next, p.now)
	}
	for _, f := range x.Files {
		sum := sha256.Sum256([]byte(f.Text))
		next[f.Name] = policyText{f.Text, hex.EncodeToString(sum[:]) != f.SHA256}
		if f.Change == "removed" {
			delete(next, f.Name)
		}
	}
	p.now, p.version = next, x.Version
	p.versions[x.Version] = next
	return nil
}

// policies adds the texts of all versions of the policy that decided something.
func (c *caseFile) policies(one func(string, func(io.Writer) error) error) error {
	for _, version := range sortedKeys(c.policy.used) {
		if version == "" {
			continue
		}
		texts, ok := c.policy.versions[version]
		if !ok {
			c.manifest.Notes = append(c.manifest.Notes, "the journal does not have the text of policy version "+version)
			continue
		}
		p := policyTexts{Version: version, Files: []policyFile{}}
		taken := map[string]bool{}
		var masked []string
		for _, name := range sortedKeys(texts) {
			file := "policy/" + fileName(version) + "/" + fileName(name)
			for n := 2; taken[file]; n++ { // another name that differs in what cannot be a file's
				file = fmt.Sprintf("policy/%s/%d-%s", fileName(version), n, fileName(name))
			}
			taken[file] = true
			p.Files = append(p.Files, policyFile{name, file, texts[name].masked})
			if texts[name].masked {
				masked = append(masked, name)
			}
			if err := one(file, func(w io.Writer) error {
				_, err := io.WriteString(w, texts[name].text)
				return err
			}); err != nil {
				return err
			}
		}
		c.manifest.Policies = append(c.manifest.Policies, p)
		if len(masked) > 0 {
			c.manifest.Notes = append(c.manifest.Notes, "secrets are masked in "+strings.Join(masked, ", ")+" of policy version "+version+": its digest does not prove these texts")
		}
	}
	return nil
}

// missing notes what is not in the case of what was said, and what keeps it from being erased.
func (c *caseFile) missing() {
	for _, id := range sortedKeys(c.gone) {
		for _, why := range slices.Sorted(maps.Keys(c.gone[id])) {
			c.manifest.Notes = append(c.manifest.Notes, fmt.Sprintf("session %s: the contents of %s are not there: %s", id, plural(c.gone[id][why], "record"),
				map[string]string{journal.ContentErased: "erased, by a person or by retention", journal.ContentNoKey: "the journal was copied without its keys",
					journal.ContentOmitted: "there was no room for a key when they were recorded"}[why]))
		}
	}
	for _, h := range c.manifest.Holds {
		c.manifest.Notes = append(c.manifest.Notes, fmt.Sprintf("%s is under legal hold since %s: %s", h.Subject, h.Since.Format("2006-01-02"), h.Reason))
	}
}
