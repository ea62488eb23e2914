// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// text is a string that remembers where it stands.
type text struct {
	s    string
	line int
}

func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: a list or map does not fit here: give text", n.Line)}}
	}
	t.s, t.line = n.Value, n.Line
	return nil
}

// MarshalJSON leaves the line out: a digest is of what is written, not where.
func (t text) MarshalJSON() ([]byte, error) { return json.Marshal(t.s) }

// doc is one document; S is the shape of its spec.
type doc[S any] struct {
	APIVersion text `yaml:"apiVersion"`
	Kind       text `yaml:"kind"`
	Metadata   struct {
		Name text `yaml:"name"`
	} `yaml:"metadata"`
	Spec S `yaml:"spec"`

	place `yaml:"-"`
}

type place struct {
	file string
	line int
}

type roleSpec struct {
	Rules []struct {
		Endpoints  []text `yaml:"endpoints"`
		Models     []text `yaml:"models"`
		Operations []text `yaml:"operations"`
		Tools      []text `yaml:"tools"`

		Limits      *limitSpec `yaml:"limits"`
		MaxTokens   *int64     `yaml:"maxTokens"`
		When        *text      `yaml:"when"`
		Enforcement *text      `yaml:"enforcement"`
	} `yaml:"rules"`
}

type limitSpec struct {
	Requests *int64 `yaml:"requests"`
	Tokens   *int64 `yaml:"tokens"`
	Per      text   `yaml:"per"`
}

type bindingSpec struct {
	Role     text          `yaml:"role"`
	Subjects []subjectSpec `yaml:"subjects"`

	Enforcement *text `yaml:"enforcement"`
}

type subjectSpec struct {
	SPIFFE         *text           `yaml:"spiffe"`
	Unit           *text           `yaml:"unit"`
	User           *text           `yaml:"user"`
	Group          *text           `yaml:"group"`
	UID            *uint32         `yaml:"uid"`
	Namespace      *text           `yaml:"namespace"`
	ServiceAccount *text           `yaml:"serviceAccount"`
	PodLabels      map[string]text `yaml:"podLabels"`
}

type guardSpec struct {
	On          []text        `yaml:"on"`
	Match       matchSpec     `yaml:"match"`
	Action      text          `yaml:"action"`
	With        *text         `yaml:"with"`
	Message     text          `yaml:"message"`
	Enforcement *text         `yaml:"enforcement"`
	Approval    *approvalSpec `yaml:"approval"`
}

type matchSpec struct {
	Tools *[]text `yaml:"tools"`
	Regex *text   `yaml:"regex"`
	CEL   *text   `yaml:"cel"`
}

type approvalSpec struct {
	Groups     []text           `yaml:"groups"`
	Approvers  *int64           `yaml:"approvers"`
	Timeout    *text            `yaml:"timeout"`
	Escalation []escalationSpec `yaml:"escalation"`
	Scope      *[]text          `yaml:"scope"`
}

type escalationSpec struct {
	After  text   `yaml:"after"`
	Groups []text `yaml:"groups"`
}
