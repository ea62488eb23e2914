// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// variables are what an identity template may name.
var variables = []string{"unit", "container", "pod", "cgroup", "uid", "exe"}

// unnamed is the name under which recognised programs appear that no scope names.
const unnamed = "default"

var (
	variable   = regexp.MustCompile(`\{([^{}]*)\}`)
	nameShape  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	labelShape = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`) // RFC 1123, and "_" which resolvers take
	trustShape = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)                    // SPIFFE ID, section 2.1
)

// build checks a file and translates it.
func build(p *problems, f *file) *Config {
	c := &Config{Capture: f.Capture, Identity: f.Identity, Policy: f.Policy, CA: f.CA, Trust: f.Trust, Mask: f.Mask,
		Elasticsearch: f.Elasticsearch, Admin: f.Admin}
	c.Protect = scopes(p, f.Protect)
	c.Endpoints = endpoints(p, f.Endpoints)
	one := func(value string, want []string, at ...any) {
		if !slices.Contains(want, value) {
			p.add(p.line(at...), "%s %q is not known: use %s", dotted(at), value, strings.Join(want, ", "))
		}
	}
	abs := func(value string, at ...any) {
		if !clean(value) {
			p.add(p.line(at...), "%s %q is no absolute path: give one that begins with / and has no ..", dotted(at), value)
		}
	}
	absOrEmpty := func(value string, at ...any) {
		if value != "" {
			abs(value, at...)
		}
	}
	one(c.Capture.DefaultMode, modes, "capture", "default_mode")
	absOrEmpty(c.Capture.Cgroup, "capture", "cgroup")
	abs(c.Capture.PinDir, "capture", "pin_dir")
	if t := c.Capture.SelfTest; t < time.Second || t > time.Hour {
		p.add(p.line("capture", "self_test"), "self_test %s: give a duration of one second to one hour, such as 1m", t)
	}
	if len(c.Capture.Ports) == 0 {
		p.add(p.line("capture", "ports"), "capture.ports is empty, nothing would be seen: name at least one port, such as 443")
	}
	for i, n := range c.Capture.Ports {
		if n == 0 {
			p.add(p.line("capture", "ports", i), "port 0 cannot be captured: give 1 to 65535")
		} else if slices.Contains(c.Capture.Ports[:i], n) {
			p.add(p.line("capture", "ports", i), "port %d stands twice: keep one", n)
		}
	}
	if !trustShape.MatchString(c.Identity.TrustDomain) {
		p.add(p.line("identity", "trust_domain"), "trust_domain %q is no SPIFFE trust domain: use lower-case letters, digits, dots, dashes", c.Identity.TrustDomain)
	}
	if t := c.Identity.Template; t == "" || strings.HasPrefix(t, "/") || strings.HasSuffix(t, "/") {
		p.add(p.line("identity", "template"), "template %q is no SPIFFE path: write it without / at its ends, such as unit/{unit}", t)
	}
	found := variable.FindAllStringSubmatch(c.Identity.Template, -1)
	for _, m := range found {
		if !slices.Contains(variables, m[1]) {
			p.add(p.line("identity", "template"), "template has {%s}, which is not known: use {%s}", m[1], strings.Join(variables, "}, {"))
		}
	}
	if len(found) == 0 {
		p.add(p.line("identity", "template"), "template %q names no variable and would give every process one ID: use one such as {unit}", c.Identity.Template)
	}
	abs(c.Policy.Dir, "policy", "dir")
	httpURL(p, c.Policy.HelpURL, "policy", "help_url")
	one(c.CA.Mode, []string{"embedded"}, "ca", "mode")
	abs(c.CA.Dir, "ca", "dir")
	one(c.Trust.Host, []string{"none", "files", "unit"}, "trust", "host")
	if c.Trust.Persistent && c.Trust.Host != "unit" {
		p.add(p.line("trust", "persistent"), "trust.persistent is about the drop-ins of trust.host: unit, and host is %s: remove it", c.Trust.Host)
	}
	abs(c.Trust.Ledger, "trust", "ledger")
	c.Record = recordOf(p, &f.Record)
	abs(f.Record.Dir, "record", "dir")
	absOrEmpty(f.Record.Anchors, "record", "anchors")
	one(f.Record.WhenFull, []string{"stop"}, "record", "when_full")
	c.Archive = Archive{Off: f.Archive.Off, Path: f.Archive.Path}
	if absOrEmpty(c.Archive.Path, "archive", "path"); c.Archive.Path == "" {
		c.Archive.Path = filepath.Join(filepath.Dir(c.Record.Dir), "archive.db")
	}
	var ok bool
	if c.Archive.Retain, ok = age(f.Archive.Retain); !ok {
		p.add(p.line("archive", "retain"), "retain %q is no age: give a number with a unit, such as 90d; 0s keeps what the journal keeps", f.Archive.Retain)
	}
	abs(c.Mask.KeyFile, "mask", "key_file")
	httpURL(p, c.Elasticsearch.URL, "elasticsearch", "url")
	for i, u := range c.Elasticsearch.URLs {
		httpURL(p, u, "elasticsearch", "urls", i)
	}
	if !namespacePattern.MatchString(c.Elasticsearch.Namespace) {
		p.add(p.line("elasticsearch", "namespace"), "elasticsearch.namespace %q: want lower-case letters, digits, _ and . only", c.Elasticsearch.Namespace)
	}
	if f := strings.ReplaceAll(c.Elasticsearch.Fingerprint, ":", ""); f != "" && !fingerprintPattern.MatchString(f) {
		p.add(p.line("elasticsearch", "fingerprint"), "elasticsearch.fingerprint: want the SHA-256 of a certificate as 64 hex digits")
	} else if f != "" && c.Elasticsearch.CAFile != "" {
		p.add(p.line("elasticsearch", "fingerprint"), "elasticsearch has a ca_file and a fingerprint: remove one of them")
	}
	one(c.Elasticsearch.Contents, []string{"new", "whole"}, "elasticsearch", "contents")
	absOrEmpty(c.Elasticsearch.APIKeyFile, "elasticsearch", "api_key_file")
	absOrEmpty(c.Elasticsearch.CAFile, "elasticsearch", "ca_file")
	c.Approvals = f.Approvals.build(p)
	one(c.Approvals.Webhook.Include, []string{"none", "masked"}, "approvals", "webhook", "include")
	absOrEmpty(c.Approvals.Webhook.SecretFile, "approvals", "webhook", "secret_file")
	absOrEmpty(c.Approvals.Webhook.CAFile, "approvals", "webhook", "ca_file")
	abs(c.Admin.Socket, "admin", "socket")
	if ap, err := netip.ParseAddrPort(c.Admin.Metrics); c.Admin.Metrics != "" && (err != nil || ap.Port() == 0) {
		p.add(p.line("admin", "metrics"), "admin.metrics %q is no IP address with a port: use one such as 127.0.0.1:9464", c.Admin.Metrics)
	}
	httpURL(p, c.Admin.Traces, "admin", "traces")
	if ap, err := netip.ParseAddrPort(f.Proxy.Listen); err != nil || !ap.Addr().IsLoopback() || ap.Port() == 0 || ap.Addr().Zone() != "" {
		p.add(p.line("proxy", "listen"), "proxy.listen %q is no loopback address with a port: use one such as 127.0.0.1:15001", f.Proxy.Listen)
	}
	drain, ok := duration(f.Proxy.Drain)
	if !ok {
		p.add(p.line("proxy", "drain"), "drain %q is no duration: give a number with a unit, such as 10s", f.Proxy.Drain)
	}
	stall, ok := duration(f.Proxy.Stall)
	if !ok || stall < time.Second {
		p.add(p.line("proxy", "stall"), "stall %q is no duration of a second or more: give a number with a unit, such as 5m", f.Proxy.Stall)
	}
	if f.Proxy.MaxConnections < 1 {
		p.add(p.line("proxy", "max_connections"), "max_connections %d: give the number of connections that one scope may have open, such as 20000", f.Proxy.MaxConnections)
	}
	memory, ok := size(f.Proxy.MaxMemory)
	if !ok {
		p.add(p.line("proxy", "max_memory"), "max_memory %q is no size: give a whole number with a unit, such as 1GiB", f.Proxy.MaxMemory)
	}
	upstream, ok := duration(f.Proxy.UpstreamStall)
	if !ok || upstream < time.Second {
		p.add(p.line("proxy", "upstream_timeout"), "upstream_timeout %q is no duration of a second or more: give a number with a unit, such as 30m", f.Proxy.UpstreamStall)
	}
	if n := f.Proxy.MaxNamespaces; n < 0 || n > 8192 {
		p.add(p.line("proxy", "max_namespaces"), "max_namespaces %d: give a number from 0 to 8192 of network namespaces, such as 1024", n)
	}
	c.Proxy = Proxy{f.Proxy.Listen, drain, stall, upstream, f.Proxy.MaxConnections, memory, f.Proxy.MaxNamespaces}
	if set(f.Egress) {
		p.add(p.line("egress"), "egress is not supported yet: remove it; other traffic passes")
	}
	return c
}

var modes = []string{"off", "discover", "observe", "enforce"}

func scopes(p *problems, in []scope) []Scope {
	if len(in) > MaxScopes {
		p.add(p.line("protect", MaxScopes), "%d scopes, at most %d are possible: join some with globs", len(in), MaxScopes)
	}
	names := map[string]int{}
	var out []Scope
	for i, s := range in {
		line := func(at ...any) int { return p.line(append([]any{"protect", i}, at...)...) }
		if !nameShape.MatchString(s.Name) {
			p.add(line("name"), "scope name %q cannot be used: give letters, digits, dots, dashes, at most 63", s.Name)
		} else if s.Name == unnamed {
			p.add(line("name"), "scope name %s means what no scope names: choose another", s.Name)
		} else if first, twice := names[s.Name]; twice {
			p.add(line("name"), "scope %s is already on line %d: give each its own name", s.Name, first)
		} else {
			names[s.Name] = line("name")
		}
		m := s.Match.Match
		if len(s.Match.PodLabels) > 0 {
			p.add(line("match", "podLabels"), "podLabels is not supported yet: match by cgroup, unit, uid or exe")
		} else if m == (Match{}) {
			p.add(line("match"), "scope %s matches everything: set unit, cgroup, uid, exe or langchain", s.Name)
		}
		for _, g := range [][2]string{{"unit", m.Unit}, {"cgroup", m.Cgroup}, {"exe", m.Exe}} {
			if slices.ContainsFunc(strings.Split(g[1], "/"), func(part string) bool { _, err := path.Match(part, ""); return err != nil }) {
				p.add(line("match", g[0]), "%s %q is no valid pattern: close its [ or end its \\", g[0], g[1])
			}
		}
		if m.Cgroup != "" && !clean(m.Cgroup) {
			p.add(line("match", "cgroup"), "cgroup %q is no path below the cgroup v2 root: begin with / and leave out ..", m.Cgroup)
		}
		if strings.Contains(m.Unit, "/") {
			p.add(line("match", "unit"), "unit %q holds a /, which no unit does: give a name such as app.service, or match by cgroup", m.Unit)
		}
		if m.Exe != "" && !strings.HasPrefix(m.Exe, "/") {
			p.add(line("match", "exe"), "exe %q is not absolute: begin with /", m.Exe)
		}
		if !slices.Contains(modes, s.Mode) {
			p.add(line("mode"), "mode %q is not known: use %s", s.Mode, strings.Join(modes, ", "))
		}
		enforce := s.Mode == "enforce"
		s.Fail = cmp.Or(s.Fail, pick(enforce, "closed", "open"))
		s.Untrusted = cmp.Or(s.Untrusted, pick(enforce, "deny", "passthrough"))
		if s.Fail != "open" && s.Fail != "closed" {
			p.add(line("fail"), "fail %q is not known: use open or closed", s.Fail)
		} else if enforce && s.Fail == "open" {
			p.add(line("fail"), "an enforcing scope cannot fail open: remove fail, or use mode observe")
		}
		if s.Untrusted != "deny" && s.Untrusted != "passthrough" {
			p.add(line("untrusted"), "untrusted %q is not known: use deny or passthrough", s.Untrusted)
		}
		switch s.DNS = cmp.Or(s.DNS, "observe"); {
		case s.DNS != "observe" && s.DNS != "deny":
			p.add(line("encrypted_dns"), "encrypted_dns %q is not known: use observe or deny", s.DNS)
		case s.DNS == "deny" && !enforce:
			p.add(line("encrypted_dns"), "only a scope that enforces can deny: remove encrypted_dns, or use mode enforce")
		}
		if only := m; s.SearchMemory {
			if only.LangChain = false; !m.LangChain || only == (Match{}) {
				p.add(line("search_memory"), "search_memory needs a match by langchain: true and by unit, cgroup, uid or exe: memory is searched only in a scope that names where")
			}
		}
		canary := 0
		if s.Canary != nil {
			var ok bool
			if canary, ok = share(*s.Canary); !ok {
				p.add(line("canary"), "canary %q is no share: give more than 0%% and at most 100%%, such as 10%% or 0.5%%", *s.Canary)
			} else if !enforce {
				p.add(line("canary"), "only a scope that enforces has a canary: remove it, or use mode enforce")
			}
		}
		out = append(out, Scope{s.Name, m, s.Mode, s.Fail, s.Untrusted, s.DNS, olderOf(p, s.Older, s.Mode, line), s.SearchMemory, canary})
	}
	return out
}

// share reads a percentage with at most two decimals, in hundredths of a percent.
func share(s string) (int, bool) {
	whole, part, decimals := strings.Cut(strings.TrimSuffix(s, "%"), ".")
	if !strings.HasSuffix(s, "%") || len(part) > 2 || decimals && part == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(whole+part+"00"[len(part):], 10, 32)
	return int(n), err == nil && whole != "" && n > 0 && n <= 10_000
}

func endpoints(p *problems, in []endpoint) []Endpoint {
	names, places, plain := map[string]int{}, map[string]int{}, map[uint16]int{}
	var out []Endpoint
	for i, e := range in {
		line := func(at string) int { return p.line("endpoints", i, at) }
		port := uint16(443)
		if e.Plain {
			port = 80
		}
		if e.Port != nil {
			port = *e.Port
		}
		host := strings.ToLower(e.Host)
		if !nameShape.MatchString(e.Name) {
			p.add(line("name"), "endpoint name %q cannot be used: give letters, digits, dots, dashes, at most 63", e.Name)
		} else if first, twice := names[e.Name]; twice {
			p.add(line("name"), "endpoint %s is already on line %d: give each its own name", e.Name, first)
		} else {
			names[e.Name] = line("name")
		}
		place := netip.AddrPortFrom(netip.Addr{}, port).String() + host
		if !hostOK(host) {
			p.add(line("host"), "host %q is no name or IP address: give it without scheme, port and globs, such as api.openai.com", e.Host)
		} else if first, twice := places[place]; twice {
			p.add(line("host"), "%s port %d is already on line %d: name each host and port once", host, port, first)
		} else {
			places[place] = line("host")
		}
		_, err := netip.ParseAddr(host)
		switch first, twice := plain[port]; {
		case err == nil && !e.Plain:
			p.add(line("host"), "TLS to an IP address is not supported yet: give the name that clients use, or plain: true")
		case err != nil && e.Plain && twice:
			p.add(line("host"), "a plain endpoint is told by its port, and port %d is already on line %d: use one port each, or IP addresses", port, first)
		case err != nil && e.Plain:
			plain[port] = line("host")
		}
		if port == 0 {
			p.add(line("port"), "port 0 cannot be reached: give 1 to 65535")
		}
		if e.Protocol = cmp.Or(e.Protocol, "openai"); !slices.Contains(protocols, e.Protocol) {
			p.add(line("protocol"), "protocol %q is not supported yet: use %s, or http for an API that is opened but not decoded", e.Protocol, strings.Join(protocols[:len(protocols)-1], ", "))
		}
		if e.BasePath != "" && !basePathOK(e.BasePath) {
			p.add(line("base_path"), "base_path %q is no plain path: give what the paths of the API begin with, such as /v1, /openai/v1 or /openai/deployments/{model}", e.BasePath)
		}
		if e.UpstreamCA != "" && !clean(e.UpstreamCA) {
			p.add(line("upstream_ca"), "upstream_ca %q is no absolute path: give the path of a PEM file", e.UpstreamCA)
		}
		if e.Plain && e.UpstreamCA != "" {
			p.add(line("upstream_ca"), "a plain endpoint has no TLS to verify: remove upstream_ca or plain")
		}
		out = append(out, Endpoint{e.Name, host, port, e.Protocol, e.BasePath, e.UpstreamCA, e.Plain})
	}
	return out
}

// protocols are those that endpoints may speak. http is that of an API nobody here decodes: who calls what is known, what is
// said is not inspected, and so refused in enforce.
var protocols = []string{"openai", "anthropic", "ollama", "http"}

// basePathOK accepts a path of plain segments, of which one may be {model}. No endpoint is reached by two spellings of it.
func basePathOK(p string) bool {
	return p == "/" || len(p) <= 200 && basePathShape.MatchString(p) && strings.Count(p, "{model}") <= 1 && !strings.Contains(p, "/./") && !strings.Contains(p, "/../")
}

var basePathShape = regexp.MustCompile(`^(/([A-Za-z0-9._~-]*[A-Za-z0-9_~-]|\{model\}))+/?$`)

// hostOK accepts an IP address or a DNS name of lower-case labels. A name that looks like a number is neither.
func hostOK(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == "" && !a.IsUnspecified() && !a.Is4In6()
	}
	labels := strings.Split(h, ".")
	if len(h) > 253 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return false
	}
	return !slices.ContainsFunc(labels, func(l string) bool { return !labelShape.MatchString(l) })
}

// The forms of names in elasticsearch.
var (
	namespacePattern   = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)
	fingerprintPattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

func httpURL(p *problems, s string, at ...any) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		// The value is not repeated: it may hold a password.
		p.add(p.line(at...), "%s is no plain URL: give https://host:port, without user and password", dotted(at))
	}
}

// clean says whether s is an absolute path that names no parent.
func clean(s string) bool {
	return filepath.IsAbs(s) && !slices.Contains(strings.Split(s, "/"), "..") && !strings.ContainsRune(s, 0)
}

// set says whether a value of unknown shape holds anything.
func set(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return true
}

func dotted(at []any) string {
	var s []string
	for _, a := range at {
		if a, ok := a.(string); ok {
			s = append(s, a)
		}
	}
	return strings.Join(s, ".")
}

func pick(c bool, yes, no string) string {
	if c {
		return yes
	}
	return no
}

func sortedByLine(in []problem) []problem {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b problem) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.text, b.text)) })
	return out
}
