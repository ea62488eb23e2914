// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// host is a folder that stands for /.
type host struct {
	t   *testing.T
	top string
}

func newHost(t *testing.T) host {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return host{t, top}
}

func (h host) at(path string) string { return filepath.Join(h.top, path) }

func (h host) write(path, text string) {
	h.t.Helper()
	write(h.t, h.at(path), []byte(text))
}

// program installs a shell script.
func (h host) program(path, script string) {
	h.t.Helper()
	h.write(path, "#!/bin/sh\nset -e\n"+script)
	if err := os.Chmod(h.at(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// copies have names made from paths, which differ from run to run here.
var copies = regexp.MustCompile(`/[0-9a-f]{16}\.pem`)

// golden compares a text with a file of testdata; the folder that stands for / is left out.
func (h host) golden(name string, got []byte) {
	h.t.Helper()
	text := copies.ReplaceAllString(strings.ReplaceAll(string(got), h.top, ""), "/COPY.pem")
	path := filepath.Join("testdata", name)
	if *update {
		write(h.t, path, []byte(text))
	}
	if d := cmp.Diff(read(h.t, path), text); d != "" {
		h.t.Errorf("%s: %s", name, d)
	}
}

// units are installed on the hosts of tests.
func (h host) units(other []byte) {
	h.program("/usr/bin/systemctl", `echo "$@" >>"$TOP/systemctl.log"`)
	h.write("/etc/ssl/certs/ca-certificates.crt", string(other))
	h.write("/srv/app/venv/lib/python3.11/site-packages/certifi/cacert.pem", string(other))
	h.write("/etc/corp.pem", string(other))
	h.write("/srv/app/venv/bin/gunicorn", "#!/srv/app/venv/bin/python\n")
	h.write("/etc/systemd/system/langchain-plain.service", "[Service]\nExecStart=/srv/app/venv/bin/gunicorn app:app\n")
	h.write("/usr/lib/systemd/system/langchain-node@.service", "[Service]\nExecStart=/usr/bin/node /srv/%i.js\n")
	h.write("/etc/systemd/system/langchain-node@.service.d/corp.conf", "[Service]\nEnvironment=\"A=b\" NODE_EXTRA_CA_CERTS="+h.at("/etc/corp.pem")+"\n")
	h.write("/etc/systemd/system/langchain-root.service", "[Service]\nRootDirectory=/srv/root\nExecStart=/app\n")
	h.write("/etc/systemd/system/other.service", "[Service]\nExecStart=/bin/true\n")
}

func (h host) store(ledger *memory, dir string, roots ...[]byte) *Store {
	h.t.Helper()
	s, err := New(Options{Ledger: ledger, Roots: roots, Top: h.top, Kinds: []string{KindAnchor, KindBlock, KindUnit}, Units: Units{Dir: dir, Copies: h.at("/var/lib/sallyport/units"), RootsFile: "/run/sallyport/roots.pem"}})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func TestUnits(t *testing.T) {
	one, other := newRoot(t, commonName+"one"), newRoot(t, "Other CA")
	for _, c := range []struct {
		name, unit, dir string
		files           []string
	}{
		{"plain", "langchain-plain.service", "/run/systemd/system", []string{"/srv/app/venv/lib/python3.11/site-packages/certifi/cacert.pem"}},
		{"persistent", "langchain-plain.service", "/etc/systemd/system", nil},
		{"node", "langchain-node@7.service", "/run/systemd/system", nil},
		{"skipped", "langchain-later.service", "/run/systemd/system", []string{"/srv/with space/certifi/cacert.pem", "/srv/a\n[Service]\nExecStartPre=/bin/evil/certifi/cacert.pem", "/srv/none/certifi/cacert.pem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.units(other)
			m := &memory{}
			s := h.store(m, c.dir, one)
			var files []string
			for _, f := range c.files {
				files = append(files, h.at(f))
			}
			d, err := s.Plan(c.unit, files)
			if err != nil {
				t.Fatal(err)
			}
			h.golden(c.name+".conf", d.Text)
			if want := map[string]int{"skipped": 3}[c.name]; len(d.Skipped) != want {
				t.Errorf("skipped %v", d.Skipped)
			}
			if len(m.list) > 0 {
				t.Error("planning announced something")
			}
			for range 2 { // the second time nothing is new
				if _, err := s.WriteUnit(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
			path := h.at(c.dir + "/" + c.unit + ".d/50-sallyport-trust.conf")
			if read(t, path) != string(d.Text) || len(m.list) != 1 || read(t, h.at("/systemctl.log")) != "daemon-reload\n" {
				t.Errorf("%d records, %s", len(m.list), read(t, h.at("/systemctl.log")))
			}
			for _, cp := range d.Copies {
				if got := read(t, cp.Path); !strings.HasPrefix(got, string(other)) || !strings.Contains(got, string(one)) {
					t.Errorf("%s: %s", cp.Over, got)
				}
			}
			if list, err := s.Status(); err != nil || list[0].State != "applied" || !list[0].Current {
				t.Errorf("%+v, %v", list, err)
			}
			if list, err := h.store(m, c.dir).Remove(t.Context()); err != nil || list[0].State != "removed" || len(m.list) != 0 {
				t.Errorf("%+v, %v", list, err)
			}
			for _, gone := range []string{filepath.Dir(path), h.at("/var/lib/sallyport/units")} {
				if _, err := os.Stat(gone); !os.IsNotExist(err) {
					t.Errorf("%s is left: %v", gone, err)
				}
			}
			if read(t, h.at("/systemctl.log")) != "daemon-reload\ndaemon-reload\n" {
				t.Error("systemd was not told of the end")
			}
		})
	}
}

// TestUnitFollows: copies are made anew when what they were made from changes; what others wrote stays.
func TestUnitFollows(t *testing.T) {
	one, two, other := newRoot(t, commonName+"one"), newRoot(t, commonName+"two"), newRoot(t, "Other CA")
	h := newHost(t)
	h.units(other)
	m := &memory{}
	s := h.store(m, "/run/systemd/system", one)
	d, err := s.Plan("langchain-plain.service", nil)
	if err != nil {
		t.Fatal(err)
	}
	h.write("/run/systemd/system/langchain-plain.service.d/50-sallyport-trust.conf", "[Service]\nNice=5\n")
	if _, err := s.WriteUnit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	newer := string(other) + string(newRoot(t, "Newer CA"))
	h.write("/etc/ssl/certs/ca-certificates.crt", newer)
	if list, err := s.Status(); err != nil || list[0].Current {
		t.Errorf("%+v, %v", list, err)
	}
	both := h.store(m, "/run/systemd/system", one, two)
	if problems, err := both.Look(t.Context()); len(problems) > 0 || err != nil {
		t.Error(problems, err)
	}
	if got := read(t, d.Copies[0].Path); !strings.HasPrefix(got, newer) || !strings.Contains(got, string(two)) {
		t.Errorf("%s", got)
	}
	if list, err := both.Status(); err != nil || !list[0].Current {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if got := read(t, d.Path); got != "[Service]\nNice=5\n" {
		t.Errorf("%q", got)
	}
}

func TestUnitRefused(t *testing.T) {
	h := newHost(t)
	h.units(newRoot(t, "Other CA"))
	s := h.store(&memory{}, "/run/systemd/system", newRoot(t, commonName+"one"))
	for _, c := range []struct{ unit, want string }{
		{"langchain-root.service", "a root of its own"},
		{"../../etc/x.service", "no service unit"},
		{"a b.service", "no service unit"},
		{"x.socket", "no service unit"},
		{"", "no service unit"},
	} {
		if _, err := s.Plan(c.unit, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.unit, err)
		}
	}
	want := []string{"langchain-node@.service", "langchain-plain.service", "langchain-root.service"}
	if d := cmp.Diff(want, s.Match("langchain-*.service")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"new.service"}, s.Match("new.service")); d != "" {
		t.Error(d)
	}
}

func FuzzUnitFile(f *testing.F) {
	f.Add("[Service]\nExecStart=-/bin/a \"/b c\" 'd\nEnvironment=NODE_EXTRA_CA_CERTS=/x \\\n A=b\nRootDirectory=/r\n")
	f.Add("ExecStart=/x\n[Service]\nExecStart=")
	f.Fuzz(func(t *testing.T, text string) {
		var u Unit
		u.add(text)
		for _, p := range u.Paths {
			if !filepath.IsAbs(p) {
				t.Errorf("%q", p)
			}
		}
	})
}
