// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// maxSPIFFE is the length of a SPIFFE ID in bytes that everybody must take (SPIFFE-ID specification, section 2.3).
const maxSPIFFE = 2048

// template makes SPIFFE IDs (SPIFFE-ID specification, section 2).
type template struct {
	prefix string   // spiffe://DOMAIN
	parts  []string // literal, variable, literal, variable, ...
}

// known is what a template may name. A value that is not known, or that the process could choose, is "".
type known struct {
	*pipeline.Workload
	sureExe bool // Exe is no name that the process gave to another file
}

var variables = map[string]func(known) string{
	"unit":      func(k known) string { return k.Unit },
	"container": func(k known) string { return k.Container },
	"pod":       func(k known) string { return k.Pod },
	"uid":       func(k known) string { return strconv.FormatUint(uint64(k.UID), 10) },
	"cgroup":    func(k known) string { return strings.Trim(k.Cgroup, "/") },
	"exe": func(k known) string {
		if !k.sureExe {
			return ""
		}
		return k.Exe
	},
}

func parseTemplate(domain, text string) (*template, error) {
	if text == "" {
		return &template{}, nil
	}
	for _, c := range []byte(domain) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return nil, fmt.Errorf("identity.trust_domain %q: lower-case letters, digits, dots, dashes and underscores only", domain)
		}
	}
	if domain == "" {
		return nil, fmt.Errorf("identity.trust_domain is empty: name one, such as example.org")
	}
	t := &template{prefix: "spiffe://" + domain}
	rest := "/" + strings.TrimPrefix(text, "/")
	for {
		lit, after, found := strings.Cut(rest, "{")
		if !legalPath(lit) {
			return nil, fmt.Errorf("identity.template %q: %q cannot stand in a SPIFFE path", text, lit)
		}
		t.parts = append(t.parts, lit)
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || variables[name] == nil {
			return nil, fmt.Errorf("identity.template %q: {%s}: want {unit}, {container}, {pod}, {cgroup}, {uid} or {exe}", text, name)
		}
		t.parts = append(t.parts, name)
		rest = tail
	}
	if len(t.parts) == 1 {
		return nil, fmt.Errorf("identity.template %q gives every process the same ID: name a variable, such as {unit}", text)
	}
	for seg := range strings.SplitSeq(strings.TrimPrefix(strings.NewReplacer("{", "", "}", "").Replace(text), "/"), "/") {
		if seg == "" || seg == "." || seg == ".." {
			return nil, fmt.Errorf("identity.template %q: a path segment is empty or made of dots", text)
		}
	}
	return t, nil
}

func legalPath(s string) bool {
	for _, c := range []byte(s) {
		if !legal(c) && c != '/' {
			return false
		}
	}
	return true
}

func legal(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

// render is the SPIFFE ID of a workload; "" if a variable is empty: unknown stays unknown.
func (t *template) render(w known) string {
	if len(t.parts) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(t.prefix)
	for i, part := range t.parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		value := variables[part](w)
		if value == "" || value == "." || value == ".." {
			return ""
		}
		escape(&b, value)
	}
	if b.Len() > maxSPIFFE {
		return ""
	}
	return b.String()
}

// escape writes a value as one path segment. What is not legal there becomes "_" and two hex digits, and so does "_"
// itself, so that no two values have one form and none can add a segment.
func escape(b *strings.Builder, value string) {
	for _, c := range []byte(value) {
		if legal(c) && c != '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(b, "_%02x", c)
		}
	}
}
