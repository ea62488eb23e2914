// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"strings"
	"testing"
)

const (
	id64    = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	other64 = "ffffffffffffffff0123456789abcdef0123456789abcdef0123456789abcdef"
	uid     = "6f1d3c2a-0b4e-4c5d-8e9f-00112233aabb"
	uidU    = "6f1d3c2a_0b4e_4c5d_8e9f_00112233aabb"
	static  = "0123456789abcdef0123456789abcdef"
)

func TestPaths(t *testing.T) {
	for _, c := range []struct{ name, path, unit, container, pod string }{
		{"root", "/", "", "", ""},
		{"nothing", "", "", "", ""},
		{"init", "/init.scope", "init.scope", "", ""},
		{"service", "/system.slice/app.service", "app.service", "", ""},
		{"service in deep slices", "/a.slice/a-b.slice/app@1.service", "app@1.service", "", ""},
		{"service with folders of its own", "/system.slice/app.service/worker/1", "app.service", "", ""},
		{"escapes stay", `/system.slice/a\x2db.service`, `a\x2db.service`, "", ""},
		{"underscore of systemd", "/system.slice/_cpu.service", "cpu.service", "", ""},
		{"log-in session", "/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "", ""},
		{"slice alone", "/system.slice", "", "", ""},
		{"suffix alone", "/system.slice/.service", "", "", ""},
		{"administrator's folder", "/lab/app.service", "app.service", "", ""},
		{"administrator's folder, no unit", "/lab/app", "", "", ""},

		{"a person's manager", "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service", "user@1000.service", "", ""},
		{"a person's scope", "/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", "user@1000.service", "", ""},
		{"a unit's folder that pretends", "/system.slice/app.service/system.slice/other.service", "app.service", "", ""},
		{"a unit's folder that pretends to be a container", "/system.slice/app.service/docker-" + id64 + ".scope", "app.service", "", ""},
		{"a person's folder that pretends to be a pod", "/user.slice/user-1.slice/user@1.service/kubepods/pod" + uid + "/" + id64, "user@1.service", "", ""},
		{"nspawn", "/machine.slice/systemd-nspawn@a.service/payload/system.slice/b.service", "systemd-nspawn@a.service", "", ""},
		{"lxc", "/lxc.payload.c1/app.service", "", "", ""},
		{"someone's container with units inside", "/c1/system.slice/app.service", "", "", ""},
		{"someone's container, two folders deep", "/default/c1/app.service", "", "", ""},

		{"docker, systemd", "/system.slice/docker-" + id64 + ".scope", "", id64, ""},
		{"docker, cgroupfs", "/docker/" + id64, "", id64, ""},
		{"docker, with units inside", "/docker/" + id64 + "/system.slice/app.service", "", id64, ""},
		{"docker in docker", "/docker/" + id64 + "/docker/" + other64, "", id64, ""},
		{"podman", "/machine.slice/libpod-" + id64 + ".scope/container", "", id64, ""},
		{"podman, cgroupfs", "/libpod_parent/libpod-" + id64, "", id64, ""},
		{"podman's monitor", "/machine.slice/libpod-conmon-" + id64 + ".scope", "libpod-conmon-" + id64 + ".scope", "", ""},
		{"id too short", "/docker/" + id64[1:], "", "", ""},
		{"id in capitals", "/docker/" + strings.ToUpper(id64), "", "", ""},

		{"pod, containerd, systemd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidU + ".slice/cri-containerd-" + id64 + ".scope", "", id64, uid},
		{"pod, cri-o", "/kubepods.slice/kubepods-pod" + uidU + ".slice/crio-" + id64 + ".scope", "", id64, uid},
		{"pod, cgroupfs", "/kubepods/besteffort/pod" + uid + "/" + id64, "", id64, uid},
		{"pod, cgroupfs, guaranteed", "/kubepods/pod" + uid + "/" + id64, "", id64, uid},
		{"pod below another folder", "/lab/kubepods/burstable/pod" + uid + "/" + id64, "", id64, uid},
		{"pod, both drivers", "/system.slice/containerd.service/kubepods-burstable-pod" + uidU + ".slice:cri-containerd:" + id64, "", id64, uid},
		{"static pod", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + static + ".slice/cri-containerd-" + id64 + ".scope", "", id64, static},
		{"pod without container", "/kubepods/besteffort/pod" + uid, "", "", uid},
		{"unit inside a container of a pod", "/kubepods/pod" + uid + "/" + id64 + "/app.service", "", id64, uid},
		{"unit inside a pod", "/kubepods/pod" + uid + "/app.service", "", "", uid},
		{"pod inside a container", "/docker/" + id64 + "/kubepods/pod" + uid + "/" + other64, "", id64, ""},
		{"pod without kubepods", "/x/pod" + uid, "", "", ""},
		{"short pod id", "/kubepods/pod1234/ctr1", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Unit(c.path); got != c.unit {
				t.Errorf("unit %q, want %q", got, c.unit)
			}
			if got := Container(c.path); got != c.container {
				t.Errorf("container %q, want %q", got, c.container)
			}
			if got := Pod(c.path); got != c.pod {
				t.Errorf("pod %q, want %q", got, c.pod)
			}
		})
	}
}

// FuzzPaths: whatever somebody with a folder of his own calls what is below it, he keeps his unit, and gets no container
// or pod.
func FuzzPaths(f *testing.F) {
	f.Add("/system.slice/other.service")
	f.Add("/kubepods/pod" + uid + "/" + id64)
	f.Add("/docker-" + id64 + ".scope")
	f.Add(`/_x/.slice:a:b/pod/\x2d`)
	f.Fuzz(func(t *testing.T, below string) {
		for _, own := range []string{"/user.slice/user-7.slice/user@7.service", "/system.slice/app.service"} {
			p := own + "/" + below
			if got := Unit(p); got != own[strings.LastIndexByte(own, '/')+1:] {
				t.Errorf("%q became unit %q", p, got)
			}
			if c, pod := Container(p), Pod(p); c != "" || pod != "" {
				t.Errorf("%q became container %q, pod %q", p, c, pod)
			}
		}
		in := "/docker/" + id64 + "/" + below
		if Unit(in) != "" || Container(in) != id64 || Pod(in) != "" {
			t.Errorf("%q became unit %q, container %q, pod %q", in, Unit(in), Container(in), Pod(in))
		}
	})
}
