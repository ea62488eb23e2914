// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// runtimes are the prefixes that container runtimes give to the scopes that they make with the systemd driver.
var runtimes = []string{"docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"}

// Container is the ID of the container that a cgroup belongs to: the deepest folder that a runtime made, with the
// systemd driver (docker-ID.scope) or the cgroupfs driver (a folder that is the ID). "" = none.
func Container(cgroup string) string {
	id := ""
	for part := range strings.SplitSeq(cgroup, "/") {
		if c := containerOf(part); c != "" {
			id = c
		}
	}
	return id
}

func containerOf(part string) string {
	name := strings.TrimSuffix(part, ".scope")
	for _, r := range runtimes {
		if id, ok := strings.CutPrefix(name, r); ok && isID(id) {
			return id
		}
	}
	if isID(part) {
		return part
	}
	return ""
}

// isID says whether a name is a container ID: 64 hex digits.
func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
