// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// runtimes are the prefixes that container runtimes give to the scopes and folders that they make.
var runtimes = []string{"docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"}

// managers are the units below whose cgroup a runtime may make its containers.
var managers = []string{"containerd.service", "docker.service", "crio.service", "kubelet.service", "podman.service", "k3s.service"}

// Container is the ID of the container that a cgroup belongs to: the first folder on the way from the root that a
// runtime made, with the systemd driver (docker-ID.scope), the cgroupfs driver (a folder that is the ID), or the mix of
// both (kubepods-podUID.slice:cri-containerd:ID). "" = none. The first, because whoever is inside may make folders of
// any name; and none below another unit, such as a person's own manager, for the same reason.
func Container(cgroup string) string {
	for part := range strings.SplitSeq(cgroup, "/") {
		if id := containerOf(part); id != "" {
			return id
		}
		if ends(part) {
			return ""
		}
	}
	return ""
}

// ends says whether what lies below a folder is its owner's to name.
func ends(part string) bool {
	if !isUnit(part) {
		return false
	}
	for _, m := range managers {
		if part == m {
			return false
		}
	}
	return true
}

func containerOf(part string) string {
	if i := strings.LastIndexByte(part, ':'); i >= 0 && strings.Contains(part[:i], ".slice:") {
		part = part[i+1:]
	}
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

// isID says whether a name is a container ID: 64 hex digits. (libpod-conmon-ID.scope is no container.)
func isID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
