// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// Pod is the UID of the pod that a cgroup belongs to: kubepods-burstable-podUID.slice with the systemd driver, where the
// UID's dashes are underscores, or podUID below kubepods with the cgroupfs driver. "" = none.
func Pod(cgroup string) string {
	below, uid := false, ""
	for part := range strings.SplitSeq(cgroup, "/") {
		if part == "kubepods" || strings.HasPrefix(part, "kubepods.slice") || strings.HasPrefix(part, "kubepods-") {
			below = true
		}
		if !below {
			continue
		}
		name := strings.TrimSuffix(part, ".slice")
		if i := strings.LastIndex(name, "pod"); i >= 0 && (i == 0 || name[i-1] == '-') {
			if u := strings.ReplaceAll(name[i+len("pod"):], "_", "-"); isUUID(u) {
				uid = u
			}
		}
	}
	return uid
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
