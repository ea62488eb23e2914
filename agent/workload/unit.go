// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// Unit is the systemd unit that a cgroup belongs to; "" = none. It is the first unit on the way from the root, as
// systemd itself counts: what lies below a unit was made by whoever runs there. So everything that a person's own
// manager starts is user@UID.service, whatever it calls itself, and nobody can take the name of another unit. What is
// inside a container has no unit. Escapes within a name stay (foo\x2dbar.service), as systemctl shows them; the "_" in
// front of a name that would clash with a file of the cgroup file system goes. (systemd.unit(5), CGROUP_DELEGATION.md)
func Unit(cgroup string) string {
	if Container(cgroup) != "" || Pod(cgroup) != "" {
		return ""
	}
	other := false
	for part := range strings.SplitSeq(strings.TrimPrefix(cgroup, "/"), "/") {
		name := strings.TrimPrefix(part, "_")
		switch {
		case isKubepods(part) || strings.HasPrefix(part, "lxc"):
			return ""
		case isUnit(name):
			return name
		case !other && strings.HasSuffix(part, ".slice"):
		case !other:
			// One folder above, which is neither slice nor unit: only root makes those. Below two, or with slices inside, it is
			// the tree of a container.
			other = true
		default:
			return ""
		}
	}
	return ""
}

func isUnit(name string) bool {
	base, ok := strings.CutSuffix(name, ".service")
	if !ok {
		base, ok = strings.CutSuffix(name, ".scope")
	}
	return ok && base != ""
}
