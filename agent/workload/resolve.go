// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// narrowing lists the variables of a template that name a cgroup, the narrowest first.
var narrowing = []string{"container", "pod", "cgroup", "unit"}

// Resolve turns a SPIFFE ID back into what it stands for: the kind ("unit", "cgroup", "container", "pod" or "uid") and the
// value. An ID that names a user or an executable beside something else stands for no one thing: that is an error.
func (i *Identifier) Resolve(id string) (kind, value string, err error) {
	return i.template.resolve(id)
}

func (t *template) resolve(id string) (kind, value string, err error) {
	pattern := "^" + regexp.QuoteMeta(t.prefix)
	for n, part := range t.parts {
		if n%2 == 0 {
			pattern += regexp.QuoteMeta(part)
		} else {
			pattern += "((?:[A-Za-z0-9.-]|_[0-9a-f]{2})+)"
		}
	}
	m := regexp.MustCompile(pattern + "$").FindStringSubmatch(id)
	if m == nil || len(t.parts) < 2 {
		return "", "", fmt.Errorf("%s is no ID that identity.template gives here", id)
	}
	values := map[string]string{}
	for n := 1; n < len(t.parts); n += 2 {
		v, name := unescape(m[(n+1)/2]), t.parts[n]
		if old, twice := values[name]; twice && old != v {
			return "", "", fmt.Errorf("%s is no ID that identity.template gives here", id)
		}
		values[name] = v
	}
	at := slices.IndexFunc(narrowing, func(name string) bool { return values[name] != "" })
	_, user := values["uid"]
	_, exe := values["exe"]
	switch {
	case exe || user && at >= 0:
		return "", "", fmt.Errorf("%s names a user or an executable beside a place: name the unit, the cgroup or the uid instead", id)
	case user:
		return "uid", values["uid"], nil
	case narrowing[at] == "cgroup":
		return "cgroup", "/" + values["cgroup"], nil
	}
	return narrowing[at], values[narrowing[at]], nil
}

// unescape is the opposite of escape.
func unescape(s string) string {
	var b strings.Builder
	for n := 0; n < len(s); n++ {
		if s[n] == '_' && n+2 < len(s) {
			if c, err := strconv.ParseUint(s[n+1:n+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				n += 2
				continue
			}
		}
		b.WriteByte(s[n])
	}
	return b.String()
}
