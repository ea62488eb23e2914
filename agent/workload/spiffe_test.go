// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func TestTemplate(t *testing.T) {
	w := pipeline.Workload{Unit: "my_app@1.service", UID: 1001, Cgroup: "/system.slice/my_app@1.service", Exe: "/usr/bin/python3", Comm: "python"}
	for _, c := range []struct {
		name, template string
		w              pipeline.Workload
		sure           bool
		want           string
	}{
		{"unit", "unit/{unit}", pipeline.Workload{Unit: "support.service"}, false, "unit/support.service"},
		{"escapes", "unit/{unit}", w, false, "unit/my_5fapp_401.service"},
		{"two", "{uid}/{unit}", w, false, "1001/my_5fapp_401.service"},
		{"one segment", "u-{uid}.x", w, false, "u-1001.x"},
		{"leading slash", "/u/{uid}", w, false, "u/1001"},
		{"cgroup is one segment", "cg/{cgroup}", w, false, "cg/system.slice_2fmy_5fapp_401.service"},
		{"root cgroup", "cg/{cgroup}", pipeline.Workload{Cgroup: "/"}, false, ""},
		{"exe", "exe/{exe}", w, true, "exe/_2fusr_2fbin_2fpython3"},
		{"exe that the process could choose", "exe/{exe}", w, false, ""},
		{"unknown unit", "unit/{unit}", pipeline.Workload{UID: 5, Comm: "x"}, false, ""},
		{"one of two unknown", "{uid}/{pod}", w, true, ""},
		{"no template", "", w, true, ""},
		{"dots", "unit/{unit}", pipeline.Workload{Unit: ".."}, false, ""},
		{"dot", "unit/{unit}", pipeline.Workload{Unit: "."}, false, ""},
		{"slashes add no segment", "unit/{unit}", pipeline.Workload{Unit: "../admin"}, false, "unit/.._2fadmin"},
		{"root", "u/{uid}", pipeline.Workload{}, false, "u/0"},
		{"too long", "unit/{unit}", pipeline.Workload{Unit: strings.Repeat("a", maxSPIFFE)}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tm, err := parseTemplate("example.org", c.template)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want != "" {
				want = "spiffe://example.org/" + want
			}
			if got := tm.render(known{&c.w, c.sure}); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	for _, c := range []struct{ name, domain, template, want string }{
		{"unknown variable", "d", "u/{name}", "{name}: want {unit}"},
		{"what a process calls itself", "d", "u/{comm}", "{comm}: want {unit}"},
		{"open brace", "d", "u/{unit", "{unit"},
		{"closing brace", "d", "u}/{unit}", "cannot stand in a SPIFFE path"},
		{"empty segment", "d", "a//{unit}", "segment is empty"},
		{"trailing slash", "d", "{unit}/", "segment is empty"},
		{"dots", "d", "../{unit}", "made of dots"},
		{"space", "d", "a b/{unit}", "cannot stand"},
		{"percent", "d", "a%2f/{unit}", "cannot stand"},
		{"no variable", "d", "everybody", "gives every process the same ID"},
		{"no domain", "", "{unit}", "trust_domain is empty"},
		{"capitals in the domain", "D", "{unit}", "lower-case"},
		{"slash in the domain", "a/b", "{unit}", "lower-case"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(Options{TrustDomain: c.domain, Template: c.template}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// FuzzSPIFFE: any two units have two IDs, each of exactly one more segment than the template.
func FuzzSPIFFE(f *testing.F) {
	f.Add("a_b.service", "a/b.service")
	f.Add("a@b", "a_40b")
	f.Add("..", ".")
	tm, err := parseTemplate("d", "unit/{unit}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := tm.render(known{Workload: &pipeline.Workload{Unit: a}}), tm.render(known{Workload: &pipeline.Workload{Unit: b}})
		if x != "" && x == y && a != b {
			t.Errorf("%q and %q are both %s", a, b, x)
		}
		if x != "" {
			rest, ok := strings.CutPrefix(x, "spiffe://d/unit/")
			if !ok || !legalPath(rest) || strings.Contains(rest, "/") || rest == "" || rest == "." || rest == ".." {
				t.Errorf("%q became %s", a, x)
			}
		}
	})
}
