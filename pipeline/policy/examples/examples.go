// SPDX-License-Identifier: Apache-2.0

// Package examples holds guardrails and roles to examples that stand beside them: what each must match, or allow, and what
// it must leave alone. Each is tried by itself, so that an example is about one document and not about its neighbours.
package examples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
	"github.com/sallyport-dev/sallyport/pipeline/policy/review"
)

// Suite is the examples of one document, as they stand in a file of the folder "tests" of a policy folder.
type Suite struct {
	Guardrail string `yaml:"guardrail"`
	Match     []Step `yaml:"match"`
	NoMatch   []Step `yaml:"noMatch"`

	Role  string `yaml:"role"`
	Allow []Call `yaml:"allow"`
	Deny  []Call `yaml:"deny"`

	file string
	line int
}

// Step is a step that a guardrail is shown.
type Step struct {
	On   string `yaml:"on"` // the kind of step
	Tool string `yaml:"tool"`
	Text string `yaml:"text"`
	Args any    `yaml:"args"` // of a tool call; text is taken as it is, anything else as JSON

	line int
}

// UnmarshalYAML remembers where the example stands.
func (s *Step) UnmarshalYAML(n *yaml.Node) error {
	type plain Step
	s.line = n.Line
	return n.Decode((*plain)(s))
}

// Call is a call, and perhaps a tool call in its reply, that a role is asked about.
type Call struct {
	Endpoint  string `yaml:"endpoint"`
	Operation string `yaml:"operation"` // chat if left out
	Model     string `yaml:"model"`
	Tool      string `yaml:"tool"`

	line int
}

// UnmarshalYAML remembers where the example stands.
func (c *Call) UnmarshalYAML(n *yaml.Node) error {
	type plain Call
	c.line = n.Line
	return n.Decode((*plain)(c))
}

// Result is what came of all examples.
type Result struct {
	Examples int      `json:"examples"`
	Failures []string `json:"failures"`         // FILE:LINE: what is wrong
	Without  []string `json:"without_examples"` // documents
}

// Loader compiles a policy folder.
type Loader func(fs.FS) (replay.Decider, error)

// nobody is the caller in examples.
const nobody = 65534

const header = "apiVersion: sallyport.dev/v1alpha1\nkind: "

var everything = header + `Role
metadata: {name: example-everything}
spec: {rules: [{endpoints: ["*"], operations: ["*"], models: ["*"], tools: ["*"]}]}
---
` + bind("example-everything")

func bind(role string) string {
	return header + fmt.Sprintf("RoleBinding\nmetadata: {name: example}\nspec: {role: %s, subjects: [{uid: %d}]}\n", role, nobody)
}

// Run tries the examples in the folder "tests" of a policy folder. An error means that they cannot be read.
func Run(folder fs.FS, load Loader) (Result, error) {
	r := Result{Failures: []string{}, Without: []string{}}
	docs, err := review.Read(folder)
	if err != nil {
		return r, err
	}
	suites, err := read(folder)
	if err != nil {
		return r, err
	}
	for _, s := range suites {
		kind, name := "Guardrail", s.Guardrail
		if s.Role != "" {
			kind, name = "Role", s.Role
		}
		i := slices.IndexFunc(docs, func(d review.Document) bool { return d.Kind == kind && d.Name == name })
		if i < 0 {
			r.fail(s.file, s.line, "there is no %s %s in the folder: mend the name", kind, name)
			continue
		}
		d, err := alone(&docs[i], load)
		if err != nil {
			return r, fmt.Errorf("%s %s: %w", kind, name, err)
		}
		for _, x := range s.Match {
			r.guardrail(&s, d, &x, true)
		}
		for _, x := range s.NoMatch {
			r.guardrail(&s, d, &x, false)
		}
		for _, x := range s.Allow {
			r.role(&s, d, &x, true)
		}
		for _, x := range s.Deny {
			r.role(&s, d, &x, false)
		}
	}
	for _, d := range docs {
		has := slices.ContainsFunc(suites, func(s Suite) bool {
			return d.Kind == "Guardrail" && s.Guardrail == d.Name || d.Kind == "Role" && s.Role == d.Name
		})
		if !has && d.Kind != "RoleBinding" {
			r.Without = append(r.Without, d.Kind+" "+d.Name)
		}
	}
	return r, nil
}

// read reads tests/*.yaml; that there are none is no error.
func read(folder fs.FS) ([]Suite, error) {
	names, err := fs.Glob(folder, "tests/*.yaml")
	if err != nil {
		return nil, err
	}
	var out []Suite
	for _, name := range names {
		raw, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("reading examples: %w", err)
		}
		nodes, strict := yaml.NewDecoder(bytes.NewReader(raw)), yaml.NewDecoder(bytes.NewReader(raw))
		strict.KnownFields(true)
		for {
			var n yaml.Node
			s := Suite{file: name}
			if err := nodes.Decode(&n); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if err := strict.Decode(&s); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			s.line = n.Content[0].Line
			if (s.Guardrail == "") == (s.Role == "") {
				return nil, fmt.Errorf("%s:%d: name either a guardrail or a role", name, s.line)
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// alone compiles one document with nothing beside it but what lets it have a say.
func alone(d *review.Document, load Loader) (replay.Decider, error) {
	raw, err := yaml.Marshal(map[string]any{"apiVersion": "sallyport.dev/v1alpha1", "kind": d.Kind, "metadata": map[string]string{"name": d.Name}, "spec": d.Spec})
	if err != nil {
		return nil, err
	}
	beside := everything
	if d.Kind == "Role" {
		beside = bind(d.Name)
	}
	return load(oneFile(string(raw) + "---\n" + beside))
}

func (r *Result) fail(file string, line int, format string, args ...any) {
	r.Failures = append(r.Failures, fmt.Sprintf("%s:%d: ", file, line)+fmt.Sprintf(format, args...))
}

func (r *Result) guardrail(s *Suite, d replay.Decider, x *Step, want bool) {
	r.Examples++
	step := pipeline.Step{Kind: x.On, Name: x.Tool, Text: x.Text}
	switch args := x.Args.(type) {
	case nil:
	case string:
		step.Args = json.RawMessage(args)
	default:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(args); err != nil {
			r.fail(s.file, x.line, "the arguments are no JSON: %v", err)
			return
		}
		step.Args = bytes.TrimSpace(b.Bytes())
	}
	m, c := caller(), pipeline.Call{Operation: pipeline.OpChat, Model: "example", Steps: []pipeline.Step{step}}
	if step.Kind == pipeline.StepToolCall {
		c.Steps = nil
	}
	v := d.Decide(&m, &c, &step)
	if strings.HasPrefix(v.Rule, "builtin/") {
		r.fail(s.file, x.line, "policy cannot look at such a step (%s): mend on", v.Reason)
		return
	}
	got := v.Action > pipeline.Allow || slices.ContainsFunc(v.Matched, func(m pipeline.Matched) bool { return m.Rule == "guardrail/"+s.Guardrail })
	if got != want {
		r.fail(s.file, x.line, "guardrail %s %s this %s", s.Guardrail, map[bool]string{true: "should match", false: "should not match"}[want], x.On)
	}
}

func (r *Result) role(s *Suite, d replay.Decider, x *Call, want bool) {
	r.Examples++
	m, c := caller(), pipeline.Call{Operation: x.Operation, Model: x.Model}
	if c.Operation == "" {
		c.Operation = pipeline.OpChat
	}
	m.Endpoint = pipeline.Endpoint{Name: x.Endpoint, Host: x.Endpoint}
	v := d.Decide(&m, &c, nil)
	if x.Tool != "" && v.Action < pipeline.Hold {
		v = d.Decide(&m, &c, &pipeline.Step{Kind: pipeline.StepToolCall, Name: x.Tool, Args: json.RawMessage("{}")})
	}
	if got := v.Action < pipeline.Hold; got != want {
		what := fmt.Sprintf("%s with %s at %s", c.Operation, x.Model, x.Endpoint)
		if x.Tool != "" {
			what += ", tool " + x.Tool
		}
		r.fail(s.file, x.line, "role %s %s: %s", s.Role, map[bool]string{true: "should allow this", false: "should refuse this"}[want], what)
	}
}

func caller() pipeline.Meta {
	return pipeline.Meta{Mode: pipeline.ModeEnforce, Scope: "example", Workload: pipeline.Workload{PID: 1, UID: nobody, LoginUID: nobody},
		Endpoint: pipeline.Endpoint{Name: "example", Host: "example.invalid", Port: 443}}
}
