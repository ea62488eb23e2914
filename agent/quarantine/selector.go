// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Selector names who is cut off.
type Selector struct{ Kind, Value string }

// The kinds of a Selector.
const (
	Unit      = "unit"
	Cgroup    = "cgroup"
	Container = "container"
	Pod       = "pod"
	UID       = "uid"
	SPIFFE    = "spiffe"
)

func (s Selector) String() string {
	if s.Kind == SPIFFE {
		return s.Value
	}
	return s.Kind + ":" + s.Value
}

// Parse reads KIND:VALUE. A path, the name of a unit, a number and a SPIFFE ID may stand alone.
func Parse(text string) (Selector, error) {
	kind, value, named := strings.Cut(text, ":")
	switch {
	case strings.HasPrefix(text, "spiffe://"):
		kind, value = SPIFFE, text
	case strings.HasPrefix(text, "/"):
		kind, value = Cgroup, text
	case !named && (strings.HasSuffix(text, ".service") || strings.HasSuffix(text, ".scope")):
		kind, value = Unit, text
	case !named && isNumber(text):
		kind, value = UID, text
	case !named:
		return Selector{}, fmt.Errorf("selector %q: want unit:NAME, cgroup:/PATH, container:ID, pod:UID, uid:N or spiffe://DOMAIN/PATH", text)
	}
	bad := func(want string) (Selector, error) {
		return Selector{}, fmt.Errorf("selector %q: want %s", text, want)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) || len(value) > 2048 {
		return bad("a name without control characters, at most 2,048 bytes")
	}
	switch kind {
	case Unit:
		if strings.Contains(value, "/") || !strings.HasSuffix(value, ".service") && !strings.HasSuffix(value, ".scope") || strings.HasPrefix(value, ".") {
			return bad("the whole name of a unit, such as unit:app.service; patterns are not taken")
		}
	case Cgroup:
		if !strings.HasPrefix(value, "/") || path.Clean(value) != value || value == "/" {
			return bad("a path below the cgroup v2 root, such as cgroup:/agents.slice")
		}
	case Container, Pod:
		if value == "" || strings.Trim(strings.ToLower(value), "0123456789abcdef-") != "" {
			return bad("the whole ID, hex digits and dashes")
		}
		value = strings.ToLower(value)
	case UID:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return bad("a user's number, such as uid:1001")
		}
		value = strconv.FormatUint(n, 10)
	case SPIFFE:
		if !strings.HasPrefix(value, "spiffe://") || len(value) == len("spiffe://") {
			return bad("a SPIFFE ID, such as spiffe://example.org/unit/app.service")
		}
	default:
		return bad("unit:NAME, cgroup:/PATH, container:ID, pod:UID, uid:N or spiffe://DOMAIN/PATH")
	}
	return Selector{kind, value}, nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
