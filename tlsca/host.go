// SPDX-License-Identifier: Apache-2.0

package tlsca

import (
	"fmt"
	"strings"
)

// Host returns name as a certificate spells it: lower case, without the trailing dot. It refuses what is not an exact
// DNS host name of at least two labels (RFC 1123 section 2.1; underscores are refused, as clients differ about them):
// wildcards, IP addresses and single labels could not be held to one name by a name constraint.
func Host(name string) (string, error) {
	h := strings.ToLower(strings.TrimSuffix(name, "."))
	bad := func(why string) (string, error) { return "", fmt.Errorf("host name %q: %s", name, why) }
	if h == "" || len(h) > 253 {
		return bad("want 1 to 253 characters")
	}
	labels := strings.Split(h, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return bad("each label has 1 to 63 characters")
		}
		if l[0] == '-' || l[len(l)-1] == '-' {
			return bad("a label does not begin or end with a hyphen")
		}
		for _, c := range []byte(l) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return bad("only letters, digits and hyphens are possible (write international names in their xn-- form)")
			}
		}
	}
	if len(labels) < 2 {
		return bad("want a full name of at least two labels")
	}
	last := labels[len(labels)-1]
	if last[0] >= '0' && last[0] <= '9' {
		return bad("want a name, not an address")
	}
	return h, nil
}
