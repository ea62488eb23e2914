// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestResolve: an ID that the template gave leads back to what it was given for; no other does.
func TestResolve(t *testing.T) {
	w := pipeline.Workload{Unit: `a\x2db_c.service`, Cgroup: "/x.slice/a", Pod: "p1", Container: "c1", UID: 1001, Exe: "/bin/x"}
	for _, c := range []struct{ name, template, id, kind, value string }{
		{"unit", "unit/{unit}", "", "unit", w.Unit},
		{"cgroup", "at/{cgroup}/x", "", "cgroup", w.Cgroup},
		{"uid", "{uid}", "", "uid", "1001"},
		{"the narrowest", "{unit}/{pod}/{container}", "", "container", "c1"},
		{"twice the same", "{unit}/{unit}", "", "unit", w.Unit},
		{"twice, but not the same", "{pod}/{pod}", "spiffe://example.org/p1/p2", "", ""},
		{"user in a unit", "{unit}/{uid}", "", "", ""},
		{"executable", "{exe}", "", "", ""},
		{"another domain", "unit/{unit}", "spiffe://example.com/unit/a.service", "", ""},
		{"more segments", "unit/{unit}", "spiffe://example.org/unit/a.service/b", "", ""},
		{"a dot is a dot", "a.b/{unit}", "spiffe://example.org/aXb/u.service", "", ""},
		{"escape that is none", "unit/{unit}", "spiffe://example.org/unit/a_zz", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tpl, err := parseTemplate("example.org", c.template)
			if err != nil {
				t.Fatal(err)
			}
			if c.id == "" {
				c.id = tpl.render(known{&w, true})
			}
			kind, value, err := tpl.resolve(c.id)
			if kind != c.kind || value != c.value || (err == nil) != (c.kind != "") {
				t.Errorf("%s: %s %s, %v", c.id, kind, value, err)
			}
		})
	}
}
