// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// Unit is the systemd unit that a cgroup belongs to: the deepest service, or else the deepest scope, of its path. The
// scopes that container runtimes make are containers, not units. "" = none. Names stay as systemd writes them, escapes
// included, so that they compare with what systemctl shows. (systemd.unit(5), systemd's CGROUP_DELEGATION)
func Unit(cgroup string) string {
	unit, scope := "", ""
	for part := range strings.SplitSeq(cgroup, "/") {
		switch {
		case strings.HasSuffix(part, ".service") && len(part) > len(".service"):
			unit, scope = part, ""
		case strings.HasSuffix(part, ".scope") && len(part) > len(".scope") && containerOf(part) == "" && part != "init.scope":
			scope = part
		}
	}
	// user@1000.service/app.slice/x.scope: the scope is deeper than the manager's own service, and says more.
	if scope != "" {
		return scope
	}
	return unit
}
