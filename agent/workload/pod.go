// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// Pod is the UID of the pod that a cgroup belongs to: kubepods-burstable-podUID.slice with the systemd driver, where the
// UID's dashes are underscores, or podUID below kubepods with the cgroupfs driver. "" = none. A static pod's UID is 32
// hex digits without dashes. As with containers, the first on the way from the root counts, and none below another unit
// or in a container.
func Pod(cgroup string) string {
	below := false
	for part := range strings.SplitSeq(cgroup, "/") {
		below = below || isKubepods(part)
		if uid := podOf(part); below && uid != "" {
			return uid
		}
		if ends(part) || containerOf(part) != "" {
			return ""
		}
	}
	return ""
}

func isKubepods(part string) bool {
	return part == "kubepods" || part == "kubepods.slice" || strings.HasPrefix(part, "kubepods-")
}

// podOf is the UID in the name of one folder.
func podOf(part string) string {
	if i := strings.Index(part, ".slice:"); i >= 0 {
		part = part[:i]
	}
	name := strings.TrimSuffix(part, ".slice")
	i := strings.LastIndex(name, "pod")
	if i < 0 || i > 0 && name[i-1] != '-' {
		return ""
	}
	uid := strings.ReplaceAll(name[i+len("pod"):], "_", "-")
	if isUUID(uid) || len(uid) == 32 && isHex(uid) {
		return uid
	}
	return ""
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
