// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// file is Config as YAML has it. A pointer tells a key that was left out.
type file struct {
	Protect       []scope       `yaml:"protect"`
	Capture       Capture       `yaml:"capture"`
	Endpoints     []endpoint    `yaml:"endpoints"`
	Identity      Identity      `yaml:"identity"`
	Policy        Policy        `yaml:"policy"`
	CA            CA            `yaml:"ca"`
	Trust         Trust         `yaml:"trust"`
	Record        record        `yaml:"record"`
	Mask          Mask          `yaml:"mask"`
	Elasticsearch Elasticsearch `yaml:"elasticsearch"`
	Approvals     approvals     `yaml:"approvals"`
	Admin         Admin         `yaml:"admin"`
	Proxy         proxy         `yaml:"proxy"`
	Archive       archive       `yaml:"archive"`
	Egress        any           `yaml:"egress"`
}

type scope struct {
	Name  string `yaml:"name"`
	Match struct {
		Match     `yaml:",inline"`
		PodLabels map[string]string `yaml:"podLabels"`
	} `yaml:"match"`
	Mode      string `yaml:"mode"`
	Fail      string `yaml:"fail"`
	Untrusted string `yaml:"untrusted"`
	DNS       string `yaml:"encrypted_dns"`
	Older     older  `yaml:"older"`

	SearchMemory bool `yaml:"search_memory"`

	Canary *string `yaml:"canary"`
}

type older struct {
	Action   string `yaml:"action"`
	Idle     string `yaml:"idle"`
	Deadline string `yaml:"deadline"`
}

type endpoint struct {
	Name       string  `yaml:"name"`
	Host       string  `yaml:"host"`
	Port       *uint16 `yaml:"port"`
	Protocol   string  `yaml:"protocol"`
	BasePath   string  `yaml:"base_path"`
	UpstreamCA string  `yaml:"upstream_ca"`
	Plain      bool    `yaml:"plain"`
}

type approvals struct {
	Groups    []string `yaml:"groups"`
	Approvers int      `yaml:"approvers"`
	Timeout   string   `yaml:"timeout"`
	Elevation struct {
		Groups    []string `yaml:"groups"`
		Approvers int      `yaml:"approvers"`
		Timeout   string   `yaml:"timeout"`
		Longest   string   `yaml:"longest"`
	} `yaml:"elevation"`
	Webhook    Webhook `yaml:"webhook"`
	ConsoleURL string  `yaml:"console_url"`
}

type archive struct {
	Off    bool   `yaml:"off"`
	Path   string `yaml:"path"`
	Retain string `yaml:"retain"`
}

type record struct {
	Required bool   `yaml:"required"`
	Dir      string `yaml:"dir"`
	MaxBytes string `yaml:"max_bytes"`
	WhenFull string `yaml:"when_full"`
	Anchors  string `yaml:"anchors"`

	Original   string   `yaml:"original"`
	Recipients []string `yaml:"recipients"`

	Retention struct {
		Content  string `yaml:"content"`
		Metadata string `yaml:"metadata"`
		Admin    string `yaml:"admin"`
	} `yaml:"retention"`
}

type proxy struct {
	Listen         string `yaml:"listen"`
	Drain          string `yaml:"drain"`
	Stall          string `yaml:"stall"`
	UpstreamStall  string `yaml:"upstream_timeout"`
	MaxConnections int    `yaml:"max_connections"`
	MaxMemory      string `yaml:"max_memory"`
	MaxNamespaces  int    `yaml:"max_namespaces"`
}

// Load reads the file at path, applies the environment (env is os.Getenv or a stand-in; nil = none) and checks all.
func Load(path string, env func(string) string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return parse(path, b, env)
}

// Parse reads a configuration without an environment. name stands for the file in errors.
func Parse(name string, b []byte) (*Config, error) { return parse(name, b, nil) }

func parse(name string, b []byte, env func(string) string) (*Config, error) {
	p := &problems{name: name}
	if len(b) > maxFile {
		p.add(1, "larger than 1 MiB: split policy from configuration, or look whether this is the right file")
		return nil, p.err()
	}
	d := Default()
	f := file{Capture: d.Capture, Identity: d.Identity, Policy: d.Policy, CA: d.CA, Trust: d.Trust, Mask: d.Mask, Admin: d.Admin,
		Elasticsearch: d.Elasticsearch, Archive: archive{Retain: d.Archive.Retain.String()},
		Record: record{Required: d.Record.Required, Dir: d.Record.Dir, MaxBytes: strconv.FormatInt(d.Record.MaxBytes, 10), WhenFull: d.Record.WhenFull},
		Proxy:  proxy{d.Proxy.Listen, d.Proxy.Drain.String(), d.Proxy.Stall.String(), d.Proxy.UpstreamStall.String(), d.Proxy.MaxConnections, strconv.FormatInt(d.Proxy.MaxMemory, 10), d.Proxy.MaxNamespaces}}
	f.Approvals = approvalsOf(&d.Approvals)
	for _, e := range d.Endpoints {
		f.Endpoints = append(f.Endpoints, endpoint{e.Name, e.Host, &e.Port, e.Protocol, e.BasePath, e.UpstreamCA, e.Plain})
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && err != io.EOF {
		p.yaml(err)
		return nil, p.err()
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		p.add(more.Line, "a second document: put everything into one")
	} else if err != io.EOF {
		p.yaml(err)
	}
	if err := yaml.Unmarshal(b, &p.root); err != nil { // for the line numbers
		p.yaml(err)
	}
	if len(p.list) > 0 {
		return nil, p.err()
	}
	over := map[string]*string{envSocket: &f.Admin.Socket, envPolicy: &f.Policy.Dir, envRecord: &f.Record.Dir}
	for k, v := range Overrides(env) {
		at := over[k]
		*at = v
		if !clean(*at) {
			p.addAt(k, "%q is no absolute path: give one, such as /run/sallyport", *at)
		}
	}
	c := build(p, &f)
	if len(p.list) > 0 {
		return nil, p.err()
	}
	return c, nil
}

// The variables that override keys of the file.
const (
	envSocket = "SALLYPORT_ADMIN_SOCKET"
	envPolicy = "SALLYPORT_POLICY_DIR"
	envRecord = "SALLYPORT_RECORD_DIR"
)

// Overrides are the variables of an environment that Load puts in place of what the file says.
func Overrides(env func(string) string) map[string]string {
	out := map[string]string{}
	for _, k := range []string{envSocket, envPolicy, envRecord} {
		if env != nil && env(k) != "" {
			out[k] = env(k)
		}
	}
	return out
}

// problems collects what is wrong with one file.
type problems struct {
	name string
	root yaml.Node
	list []problem
}

type problem struct {
	line int
	text string
}

// maxErrors is how many lines of errors a person gets at once.
const maxErrors = 10

// add notes a problem; the text says what is wrong and what to do, split by a colon.
func (p *problems) add(line int, format string, args ...any) {
	p.list = append(p.list, problem{line, fmt.Sprintf("%s:%d: ", p.name, max(line, 1)) + fmt.Sprintf(format, args...)})
}

// addAt notes a problem of something that is not the file, such as an environment variable.
func (p *problems) addAt(where, format string, args ...any) {
	p.list = append(p.list, problem{0, where + ": " + fmt.Sprintf(format, args...)})
}

// err joins the problems in the order of the file.
func (p *problems) err() error {
	list := sortedByLine(p.list)
	var out []error
	for i, e := range list {
		if i == maxErrors-1 && len(list) > maxErrors {
			out = append(out, fmt.Errorf("%s: %d more problems: mend these first", p.name, len(list)-i))
			break
		}
		out = append(out, errors.New(strings.Join(strings.Fields(e.text), " ")))
	}
	return errors.Join(out...)
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (.*) not found in type `)
	yamlTwice   = regexp.MustCompile(`^(?:mapping key (.*) already defined at line (\d+)|field (.*) already set in type )`)
	yamlType    = regexp.MustCompile("^cannot unmarshal (\\S+)(?: `(.*)`)? into (.*)$")
)

// yaml translates the decoder's errors, which name Go types, into words about the file.
func (p *problems) yaml(err error) {
	texts := []string{err.Error()}
	var te *yaml.TypeError
	if errors.As(err, &te) {
		texts = te.Errors
	}
	for _, t := range texts {
		t, line := strings.Join(strings.Fields(t), " "), 1
		if m := yamlLine.FindStringSubmatch(t); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits; a line beyond int stays 0 and prints as 1
			t = m[2]
		}
		if m := yamlUnknown.FindStringSubmatch(t); m != nil {
			p.add(line, "unknown key %q: remove it or mend its spelling", m[1])
		} else if m := yamlTwice.FindStringSubmatch(t); m != nil {
			p.add(line, "key %s stands here a second time: keep one", strings.Trim(m[1]+m[3], `"`))
		} else if m := yamlType.FindStringSubmatch(t); m != nil {
			p.add(line, "%q does not fit here: give %s", m[2], wanted(m[3]))
		} else {
			p.add(line, "not valid YAML (%s): mend the syntax", strings.TrimPrefix(t, "yaml: "))
		}
	}
}

// wanted names a Go type in words.
func wanted(goType string) string {
	switch {
	case goType == "uint16":
		return "a number from 0 to 65535"
	case goType == "uint32":
		return "a number from 0 to 4294967295"
	case goType == "time.Duration":
		return "a duration with a unit, such as 1m"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "text"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "keys with values"
}

// line finds where a value stands; the line of its nearest parent if it was left out.
func (p *problems) line(path ...any) int {
	n := &p.root
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
	for _, at := range path {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		switch at := at.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && at < len(n.Content) {
				next = n.Content[at]
			}
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == at {
					next = n.Content[i+1]
				}
			}
		}
		if next == nil {
			return line
		}
		n, line = next, next.Line
	}
	return line
}

var units = map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

// size reads "10GiB"; whole numbers only.
func size(s string) (int64, bool) {
	digits := strings.TrimRight(s, "BKMGTi")
	unit, ok := units[s[len(digits):]]
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if !ok || err != nil || n <= 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// duration reads "10s", not negative.
// age is a duration that may be given in days.
func age(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	return duration(s)
}

func duration(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}
